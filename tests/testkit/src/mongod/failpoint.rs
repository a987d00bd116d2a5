//! mongod's `failCommand`: it answers the module's commands with errors, as told.

use mongodb::bson::{Document, doc};

use crate::mongod::server::Mongod;

/// How the module's connections introduce themselves.
const APP_NAME: &str = "writebehind";

impl Mongod {
    /// The next `times` of these commands that come from the module fail as `how` says:
    /// `errorCode`, `closeConnection`, `writeConcernError` and others. Needs
    /// `MongodSetup::failpoints`.
    #[track_caller]
    pub fn fail_next(&self, times: i32, commands: &[&str], how: Document) {
        self.fail(doc! { "times": times }, commands, how);
    }

    /// The same until `stop_failing`.
    #[track_caller]
    pub fn fail_always(&self, commands: &[&str], how: Document) {
        self.fail("alwaysOn", commands, how);
    }

    #[track_caller]
    fn fail(&self, mode: impl Into<mongodb::bson::Bson>, commands: &[&str], how: Document) {
        let mut data = doc! { "failCommands": commands, "appName": APP_NAME };
        data.extend(how);
        self.admin(doc! { "configureFailPoint": "failCommand", "mode": mode.into(), "data": data });
    }

    /// No command fails any more; how many did, in all the time that this mongod runs.
    #[track_caller]
    pub fn stop_failing(&self) -> i64 {
        let reply = self.admin(doc! { "configureFailPoint": "failCommand", "mode": "off" });
        reply.get_i64("count").or_else(|_| reply.get_i32("count").map(i64::from)).expect("count")
    }
}
