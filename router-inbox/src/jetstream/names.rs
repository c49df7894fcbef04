//! The names of states and orders in JSON, for serde's attribute `with`.

use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

/// The names of the states.
pub(super) mod state {
    use super::*;
    use crate::store::DeliveryState;

    pub(in super::super) fn serialize<S: Serializer>(
        state: &DeliveryState,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        state.name().serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<DeliveryState, D::Error> {
        let name = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
        DeliveryState::from_name(&name).ok_or_else(|| unknown("delivery state", &name))
    }
}

/// The names of the orders. A delivery without an order has none.
pub(super) mod order {
    use router_core::delivery::DeliveryOrder;

    use super::*;

    const NAMES: [(DeliveryOrder, &str); 2] =
        [(DeliveryOrder::OldestFirst, "oldest"), (DeliveryOrder::NewestOnly, "newest")];

    #[expect(clippy::ref_option, reason = "serde passes a reference")]
    pub(in super::super) fn serialize<S: Serializer>(
        order: &Option<DeliveryOrder>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        order.map(|order| name(&NAMES, &order)).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<DeliveryOrder>, D::Error> {
        let Some(name) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        value(&NAMES, &name).map(Some).ok_or_else(|| unknown("order of deliveries", &name))
    }
}

fn name<T: PartialEq>(names: &[(T, &'static str)], value: &T) -> &'static str {
    names.iter().find(|(candidate, _)| candidate == value).map_or("", |(_, name)| name)
}

fn value<T: Copy>(names: &[(T, &str)], name: &str) -> Option<T> {
    names.iter().find(|(_, candidate)| *candidate == name).map(|(value, _)| *value)
}

fn unknown<E: serde::de::Error>(of: &str, name: &str) -> E {
    E::custom(format!("unknown {of} {name:?}"))
}
