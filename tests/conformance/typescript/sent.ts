// The JSON of each event type, derived from the official declarations: `Snapshot['invoice.paid']` is
// `Stripe.InvoicePaidEvent`, and `Thin['v1.invoice.paid']` is its notification.
//
// The declarations describe the library's objects. The types here describe the JSON that Stripe sends:
// - a decimal number and a context are strings, which the library converts to objects;
// - methods that the library adds, such as `fetchRelatedObject`, are removed;
// - an enum is one of its known values. The declarations also allow any other string, for future values.

import type Stripe from 'stripe';

export type Snapshot = { [E in Stripe.Event as E['type']]: Sent<E> };
/** Events whose `previous_attributes` may have partial objects at any depth. */
export type PartlyChanged = { [T in keyof Snapshot]: WithChanges<Snapshot[T]> };
/** Events whose object has no id yet. */
export type WithoutId = { [T in keyof Snapshot]: LessId<Snapshot[T]> };
export type Thin = { [E in Stripe.V2.Core.EventNotification as E['type']]: Sent<E> };

type Sent<T> =
  T extends Stripe.Decimal | Stripe.StripeContextType ? string
  : T extends string ? (Same<T, AnyWord> extends true ? never : T)
  : T extends readonly (infer Element)[] ? Sent<Element>[]
  : T extends object ? { [K in keyof T as T[K] extends Method ? never : K]: Sent<T[K]> }
  : T;

type WithChanges<T> = {
  [K in keyof T]:
    K extends 'data' ? WithChanges<T[K]>
    : K extends 'previous_attributes' ? Changed<T[K]>
    : T[K]
};

type LessId<T> =
  T extends { data: { object: infer O } } ? Omit<T, 'data'> & { data: Omit<T['data'], 'object'> & { object: Omit<O, 'id'> } }
  : never;

type Changed<T> =
  T extends readonly unknown[] ? T
  : T extends object ? { [K in keyof T]?: Changed<T[K]> }
  : T;

type Method = (...args: never[]) => unknown;

/** The declarations' type for future values, as in `'paid' | 'void' | AnyWord`. */
type AnyWord = string & Record<never, never>;

/** Tests for the same type. Assignability is not enough: `string` and `AnyWord` are mutually assignable. */
type Same<A, B> =
  (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false;
