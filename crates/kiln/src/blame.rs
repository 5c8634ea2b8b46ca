//! Every conversion of a library's error into what the user reads: whose it is, which exit code it
//! has, and which hints help. This is the only file that knows all error types.

use crate::error::CliError;
use crate::settings::SettingsError;

impl From<SettingsError> for CliError {
    fn from(error: SettingsError) -> Self {
        match &error {
            SettingsError::File(file) => {
                let excerpt = file.excerpt();
                Self::usage(error).excerpt(excerpt)
            }
            SettingsError::NoRoot => Self::usage(error).hint("name the directory: `--root DIR`"),
            SettingsError::Read { .. } | SettingsError::Value { .. } => Self::usage(error),
        }
    }
}
