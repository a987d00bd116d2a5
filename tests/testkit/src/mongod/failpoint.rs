//! mongod's fail point `failCommand`: errors in reply to the module's commands.

use mongodb::bson::{Document, doc};

use crate::mongod::server::Mongod;

/// The application name of the module's connections.
const APP_NAME: &str = "writebehind";

impl Mongod {
    /// The next `times` of these commands from the module fail with `how`: `errorCode`,
    /// `closeConnection`, `writeConcernError` and others. Requires `MongodSetup::failpoints`.
    #[track_caller]
    pub fn fail_next(&self, times: i32, commands: &[&str], how: Document) {
        self.fail(doc! { "times": times }, commands, how);
    }

    /// The same for all these commands until `stop_failing`.
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

    /// Turns the fail point off and returns how many commands failed since this mongod started.
    #[track_caller]
    pub fn stop_failing(&self) -> i64 {
        let reply = self.admin(doc! { "configureFailPoint": "failCommand", "mode": "off" });
        reply.get_i64("count").or_else(|_| reply.get_i32("count").map(i64::from)).expect("count")
    }
}
