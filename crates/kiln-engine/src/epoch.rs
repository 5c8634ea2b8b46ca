//! `SOURCE_DATE_EPOCH` that names what the build is made from instead of a number.

use kiln_base::{CancelToken, Timestamp};

use crate::Engine;
use crate::contexts::Contexts;
use crate::error::BuildError;
use crate::reporter::Reporter;
use crate::request::{BuildRequest, Context, NamedContext};

/// The build argument.
const EPOCH: &str = "SOURCE_DATE_EPOCH";
/// What stands for the main context.
const MAIN: &str = "context";

impl BuildRequest {
    /// The context whose time is to be the build's, by name.
    fn named_epoch(&self) -> Option<&str> {
        let text = self.build_args.get(EPOCH)?.as_str();
        let is_number = text.parse::<i64>().is_ok();
        (!text.is_empty() && !is_number && self.source_date_epoch.is_none()).then_some(text)
    }
}

impl Engine {
    /// The requests with the times of their contexts in the place of names; `None` where there is
    /// no such name.
    pub(crate) fn with_epochs(
        &self,
        requests: &[BuildRequest],
        reporter: &Reporter<'_>,
        cancel: &CancelToken,
    ) -> Result<Option<Vec<BuildRequest>>, BuildError> {
        if requests
            .iter()
            .all(|request| request.named_epoch().is_none())
        {
            return Ok(None);
        }
        let mut resolved = requests.to_vec();
        for (request, resolved) in requests.iter().zip(&mut resolved) {
            let Some(name) = request.named_epoch() else {
                continue;
            };
            let unknown = || BuildError::Epoch(name.to_owned());
            let context = named(request, name).ok_or_else(unknown)?;
            let time = Contexts::new(self).time_of(request, context, (reporter, cancel))?;
            let seconds = time.ok_or_else(unknown)?.seconds();
            resolved.source_date_epoch = Some(Timestamp::from_seconds(seconds));
            let arguments = &mut resolved.build_args;
            arguments.insert(EPOCH.to_owned(), seconds.to_string());
        }
        Ok(Some(resolved))
    }
}

fn named<'a>(request: &'a BuildRequest, name: &str) -> Option<&'a Context> {
    match request.contexts.get(name) {
        Some(NamedContext::Files(context)) => Some(context),
        Some(_) => None,
        None => (name == MAIN).then_some(&request.context),
    }
}
