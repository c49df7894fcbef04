//! Handlers that take one of two resources of a delivery.

use std::sync::Arc;

use router_core::{
    Event, FromEvent, Rejection, Router, State,
    build::RouterBuilder,
    delivery::{Delivery, DeliveryService, ProvidedType},
    extract::{Either, PerDelivery},
};
use router_tests::{event, payload};
use tower::Service as _;

use crate::delivery_router::{CallLog, Transaction};

/// A `Transaction` or a `u8`.
enum Resource {
    Transaction(u32),
    Number(u8),
}

impl FromEvent for Resource {
    type Needs = Either<PerDelivery<Transaction>, PerDelivery<u8>>;

    async fn from_event(_: &Event, provided: Self::Needs) -> Result<Self, Rejection> {
        Ok(match provided {
            Either::First(transaction) => Self::Transaction(transaction.0.0),
            Either::Second(number) => Self::Number(*number),
        })
    }
}

async fn take_either(resource: Resource, log: State<CallLog>) {
    log.push(match resource {
        Resource::Transaction(number) => format!("transaction {number}"),
        Resource::Number(number) => format!("number {number}"),
    });
}

/// Provides these types.
struct Provides(Vec<ProvidedType>);

impl DeliveryService for Provides {
    fn provides(&self) -> Vec<ProvidedType> {
        self.0.clone()
    }
}

fn either(log: &Arc<CallLog>) -> RouterBuilder {
    let router = Router::builder().without_linked().shared_state(log.clone());
    router.handler("either", ["invoice.paid"], take_either)
}

#[tokio::test]
async fn either_takes_the_provided_resource() {
    let log = Arc::new(CallLog::default());
    let (transaction, number) = (ProvidedType::of::<Transaction>(), ProvidedType::of::<u8>());
    let paid = event(payload("invoice.paid")).unwrap();
    let delivery = || Delivery::new(paid.clone(), "either", 1);
    let router = |types| either(&log).delivered_by(&Provides(types)).build().unwrap();
    let only_second = router(vec![number]).call(delivery().provide(7_u8)).await.unwrap();
    assert!(only_second.is_done());
    let only_first = delivery().provide(Transaction(1));
    assert!(router(vec![transaction]).call(only_first).await.unwrap().is_done());
    let both = delivery().provide(8_u8).provide(Transaction(2));
    assert!(router(vec![number, transaction]).call(both).await.unwrap().is_done());
    assert_eq!(log.take(), ["number 7", "transaction 1", "transaction 2"]);
}

#[test]
fn build_fails_if_neither_resource_is_provided() {
    let error = either(&Arc::default()).build().unwrap_err().to_string();
    let expected = "these handlers take a `routing::delivery_router::Transaction` or a `u8`, which \
                    this router does not provide";
    assert!(error.contains(expected), "{error}");
    let u16_only = Provides(vec![ProvidedType::of::<u16>()]);
    let error = either(&Arc::default()).delivered_by(&u16_only).build().unwrap_err().to_string();
    assert!(error.contains(expected) && error.contains("provided: `u16`"), "{error}");
}

#[test]
fn build_fails_if_either_and_one_of_its_resources_are_taken() {
    let log = Arc::new(CallLog::default());
    let both = async |_: Resource, _: PerDelivery<u8>| {};
    let router = either(&log).handler("both", ["invoice.paid"], both);
    let types = vec![ProvidedType::of::<Transaction>(), ProvidedType::of::<u8>()];
    let error = router.delivered_by(&Provides(types)).build().unwrap_err().to_string();
    assert!(error.contains("this handler takes a `u8` twice"), "{error}");
}
