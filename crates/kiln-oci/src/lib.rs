//! OCI and Docker documents: digest, reference, platform, descriptor, manifest, index, image configuration.
