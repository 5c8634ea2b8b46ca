//! Where a disk's image comes from.

use kiln_base::CancelToken;
use kiln_image::{Image, ImageError};
use kiln_oci::Reference;

use super::{RootfsError, RootfsRequest};
use crate::anywhere::{AnywhereError, Lookup};
use crate::base::Layers;
use crate::error::OutputError;
use crate::reporter::Reporter;
use crate::{Engine, Pull};

impl Engine {
    /// The image of a request; a name that the store does not have is pulled, and its layers are
    /// unpacked while they come.
    pub(super) fn rootfs_image(
        &self,
        request: &RootfsRequest,
        reporter: &Reporter<'_>,
        cancel: &CancelToken,
    ) -> Result<Image, RootfsError> {
        let (text, platform) = (&request.image, &request.platform);
        let found = self.image_anywhere(text, platform, Lookup::Store, cancel);
        let image = match found {
            Ok(image) => image,
            Err(AnywhereError::Output(OutputError::NoSuchImage(_) | OutputError::Image(_))) => {
                let name: Reference = text.parse().map_err(|cause| AnywhereError::Name {
                    name: text.clone(),
                    cause,
                })?;
                let pull = (Pull::Missing, Layers::Unpacked);
                self.base(&name, platform, pull, reporter, cancel)?.image
            }
            Err(error) => return Err(error.into()),
        };
        let found = &image.config().platform;
        if request.is_platform_fixed && !platform.matches(found) {
            return Err(AnywhereError::Image(ImageError::Platform {
                wanted: platform.clone(),
                available: vec![found.clone()],
            })
            .into());
        }
        Ok(image)
    }
}
