//! RESTORE of damaged values of the module's own type.

use std::time::Duration;

use testkit::fuzz::restore;

#[test]
fn damaged_values_of_the_modules_type_are_refused() {
    let restored = restore::run(Duration::from_secs(2), 1, None);
    assert!(restored.payloads() > 100, "{restored}");
}
