// The JSON that Stripe sends for each event type, derived from the official declarations:
// `Snapshot['invoice.paid']` is `Stripe.InvoicePaidEvent`, and `Thin['v1.invoice.paid']` its
// notification.
//
// The declarations describe parsed events. In the JSON,
// - decimal numbers and contexts are strings, which the library parses into objects;
// - the methods that the library adds, such as `fetchRelatedObject`, do not exist;
// - an enum has one of the listed values. The declarations allow any other string, for future
//   values.

import type Stripe from 'stripe';

export type Snapshot = { [E in Stripe.Event as E['type']]: Sent<E> };
/** Snapshot events whose `previous_attributes` may be incomplete at any depth. */
export type PartlyChanged = { [T in keyof Snapshot]: WithChanges<Snapshot[T]> };
export type Thin = { [E in Stripe.V2.Core.EventNotification as E['type']]: Sent<E> };

type Sent<T> =
  T extends Stripe.Decimal | Stripe.StripeContextType ? string
  : T extends string ? (Same<T, AnyString> extends true ? never : T)
  : T extends readonly (infer Element)[] ? Sent<Element>[]
  : T extends object ? { [K in keyof T as T[K] extends Method ? never : K]: Sent<T[K]> }
  : T;

type WithChanges<T> = {
  [K in keyof T]:
    K extends 'data' ? WithChanges<T[K]>
    : K extends 'previous_attributes' ? Changed<T[K]>
    : T[K]
};

type Changed<T> =
  T extends readonly unknown[] ? T
  : T extends object ? { [K in keyof T]?: Changed<T[K]> }
  : T;

type Method = (...args: never[]) => unknown;

/** The declarations write an enum as `'paid' | 'void' | AnyString`. */
type AnyString = string & Record<never, never>;

/** Identity of types. Assignability is not enough: `string` and `AnyString` are mutually assignable. */
type Same<A, B> =
  (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false;
