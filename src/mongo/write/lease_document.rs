//! The document of a lease.

use mongodb::bson::{Bson, Document, doc};

use crate::core::delivery::lease::{Holder, Lease, hex};

/// More lanes than any server uses: one for each connection to MongoDB.
const MAX_LANES: u32 = 1024;

/// The fields that a holder sets when it takes the lease.
pub fn taken(holder: &Holder, epoch: u64, lanes: u32) -> Document {
    doc! {
        "epoch": number(epoch), "lanes": lanes, "holder": hex(&holder.id),
        "place": &holder.place, "address": &holder.address, "released": false,
    }
}

/// The epoch as it is in the document.
pub fn number(epoch: u64) -> i64 {
    i64::try_from(epoch).unwrap_or(i64::MAX)
}

/// The lease in a document. What another version of the module may have written differently is read as 0 or
/// empty.
pub fn read(document: &Document) -> Lease {
    let int = |name| match document.get(name) {
        Some(Bson::Int32(number)) => i64::from(*number),
        Some(Bson::Int64(number)) => *number,
        _ => 0,
    };
    let text = |name| document.get_str(name).unwrap_or_default();
    Lease {
        epoch: u64::try_from(int("epoch")).unwrap_or(0),
        lanes: u32::try_from(int("lanes")).unwrap_or(0).min(MAX_LANES),
        holder: Holder {
            id: read_id(text("holder")).unwrap_or_default(),
            place: text("place").to_owned(),
            address: text("address").to_owned(),
        },
        released: document.get_bool("released").unwrap_or(false),
        renewed_ms: document.get_datetime("renewed").map_or(0, |at| at.timestamp_millis()),
    }
}

fn read_id(text: &str) -> Option<[u8; 16]> {
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use mongodb::bson::DateTime;

    use super::*;

    #[test]
    fn a_lease_is_read_as_it_was_written_and_any_other_document_without_a_panic() {
        let id = [0xab; 16];
        let document = doc! {
            "epoch": 5_i64, "lanes": 8, "holder": hex(&id), "place": "p", "address": "h:1",
            "released": true, "renewed": DateTime::from_millis(7),
        };
        let holder = Holder { id, place: "p".to_owned(), address: "h:1".to_owned() };
        let lease = Lease { epoch: 5, lanes: 8, holder, released: true, renewed_ms: 7 };
        assert_eq!(read(&document), lease);
        let strange = doc! { "epoch": -1, "lanes": 1 << 30, "holder": "x", "place": 5 };
        let lease = read(&strange);
        assert_eq!((lease.epoch, lease.lanes, lease.holder.id), (0, MAX_LANES, [0; 16]));
    }
}
