//! The graph of a build that is not run.

use kiln_base::CancelToken;
use kiln_base::events::Events;
use kiln_graph::Graph;

use crate::Engine;
use crate::error::BuildError;
use crate::reporter::Reporter;
use crate::request::BuildRequest;

impl Engine {
    /// Plans builds as [`Engine::build_all`] does, and runs no step. Images that stages begin with
    /// are looked up, and pulled where the store lacks them, since what they say decides the graph.
    pub fn graph(
        &self,
        requests: &[BuildRequest],
        events: &dyn Events,
        cancel: &CancelToken,
    ) -> Result<Graph, BuildError> {
        let reporter = Reporter::for_builds(events, requests);
        Ok(self.plan(requests, &reporter, cancel)?.graph)
    }
}
