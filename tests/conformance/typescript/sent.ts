// What Stripe sends of each event type, by the official declarations: `Snapshot['invoice.paid']` is
// `Stripe.InvoicePaidEvent`, and `Thin['v1.invoice.paid']` its notification.
//
// The declarations are of what the library makes of an event. Sent is JSON, so here
// - a decimal number and a context are strings, of which the library makes objects;
// - the methods that it adds, such as `fetchRelatedObject`, are not there;
// - an enum is one of its words. The declarations allow any other string too, for words to come.

import type Stripe from 'stripe';

export type Snapshot = { [E in Stripe.Event as E['type']]: Sent<E> };
/** With objects of which only a part is there in `previous_attributes`. */
export type PartlyChanged = { [T in keyof Snapshot]: WithChanges<Snapshot[T]> };
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

type Changed<T> =
  T extends readonly unknown[] ? T
  : T extends object ? { [K in keyof T]?: Changed<T[K]> }
  : T;

type Method = (...args: never[]) => unknown;

/** As the declarations write it: `'paid' | 'void' | AnyWord`. */
type AnyWord = string & Record<never, never>;

/** Not whether one can be assigned to the other: a plain `string` and `AnyWord` can, both ways. */
type Same<A, B> =
  (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false;
