//! Images: names for manifests and indexes, and images that have no name.

use kiln_base::Timestamp;
use kiln_oci::{Descriptor, Digest, MediaType, Reference};
use rusqlite::{Connection, Row, Transaction, params};

use crate::blob::exists;
use crate::index::{count_from_column, count_to_column, from_column, to_column};
use crate::lease::Protected;
use crate::{ImageError, Store, StoreError};

const COLUMNS: &str = "name, media_type, digest, size, created, updated";

/// An image in the store: a manifest or an index, under one of its names or none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Image {
    /// The name; `None` for an image that was built without one, or lost it to a newer image.
    pub name: Option<Reference>,
    /// The manifest or index. Platform and annotations are not kept.
    pub target: Descriptor,
    /// When the image was made, as its maker said.
    pub created: Timestamp,
    /// When the name last changed.
    pub updated: Timestamp,
}

impl Store {
    /// Names the image `target`. An image that had the name before and has no other stays, without
    /// a name.
    pub fn tag(
        &self,
        name: &Reference,
        target: &Descriptor,
        created: Timestamp,
    ) -> Result<(), ImageError> {
        self.put_image(target, |transaction, now| {
            let name = name.to_string();
            let before = find(transaction, &name)?;
            if before
                .as_ref()
                .is_some_and(|before| before.target.digest == target.digest)
            {
                return Ok(());
            }
            delete_name(transaction, &name)?;
            delete_unnamed(transaction, &target.digest)?;
            insert(transaction, Some(&name), target, [created, now])?;
            match before {
                Some(before) if count(transaction, &before.target.digest)? == 0 => {
                    insert(transaction, None, &before.target, [before.created, now])
                }
                _ => Ok(()),
            }
        })
    }

    /// Records an image without a name. Does nothing if it has one, or is recorded already.
    pub fn keep_unnamed(&self, target: &Descriptor, created: Timestamp) -> Result<(), ImageError> {
        self.put_image(target, |transaction, now| {
            if count(transaction, &target.digest)? > 0 {
                return Ok(());
            }
            insert(transaction, None, target, [created, now])
        })
    }

    /// The image of this name. It and its blobs stay in the store as long as this handle lives.
    pub fn image(&self, name: &Reference) -> Result<Option<Image>, StoreError> {
        let name = name.to_string();
        let Some(image) = self.index().read(|index| find(index, &name))? else {
            return Ok(None);
        };
        if self.protects(&Protected::Blob(image.target.digest.clone())) {
            return Ok(Some(image));
        }
        // The name may have moved on between the two looks; this one counts.
        let lease = self.lease()?;
        let image = self.index().write(|transaction| {
            let image = find(transaction, &name)?;
            if let Some(image) = &image {
                lease.record(transaction, &Protected::Blob(image.target.digest.clone()))?;
            }
            Ok(image)
        })?;
        if let Some(image) = &image {
            lease.remember(&Protected::Blob(image.target.digest.clone()));
        }
        Ok(image)
    }

    /// All images, by name; those without one last, the newest first.
    pub fn images(&self) -> Result<Vec<Image>, StoreError> {
        self.index().read(all_images)
    }

    /// The images whose digest begins with `prefix`, with or without the algorithm in front: all
    /// names of one image, or nothing.
    pub fn images_by_id(&self, prefix: &str) -> Result<Vec<Image>, ImageError> {
        let (algorithm, hex) = prefix.split_once(':').unwrap_or(("sha256", prefix));
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if hex.is_empty() || !hex.bytes().all(is_hex) {
            return Ok(Vec::new());
        }
        let first = format!("{algorithm}:{hex}");
        // `g` follows all hexadecimal digits.
        let behind = format!("{first}g");
        let images = self.index().read(|index| {
            let query = format!(
                "SELECT {COLUMNS} FROM images WHERE digest >= ?1 AND digest < ?2 ORDER BY digest, name"
            );
            query_images(index, &query, params![first, behind])
        })?;
        let mut digests: Vec<&Digest> = images.iter().map(|image| &image.target.digest).collect();
        digests.dedup();
        if digests.len() > 1 {
            let count = digests.len();
            return Err(ImageError::Ambiguous {
                prefix: prefix.to_owned(),
                count,
            });
        }
        Ok(images)
    }

    /// Removes a name and returns the image that had it; `None` if there is no such name.
    ///
    /// An image whose last name is removed is no longer in the store; its blobs go with the next
    /// [`Store::sweep`] or [`Store::prune`], unless something else needs them.
    pub fn untag(&self, name: &Reference) -> Result<Option<Image>, StoreError> {
        let name = name.to_string();
        let removed = self.index().write(|transaction| {
            let image = find(transaction, &name)?;
            delete_name(transaction, &name)?;
            Ok(image)
        })?;
        self.note_unsynced();
        Ok(removed)
    }

    /// Removes an image with all its names. Returns how many entries there were.
    pub fn remove_image(&self, digest: &Digest) -> Result<usize, StoreError> {
        let removed = self.index().write(|transaction| {
            let mut statement =
                transaction.prepare_cached("DELETE FROM images WHERE digest = ?1")?;
            Ok(statement.execute([digest.as_str()])?)
        })?;
        self.note_unsynced();
        Ok(removed)
    }

    fn put_image(
        &self,
        target: &Descriptor,
        put: impl FnOnce(&Transaction<'_>, Timestamp) -> Result<(), StoreError>,
    ) -> Result<(), ImageError> {
        let blob = self.layout().blob(&target.digest);
        let now = self.now();
        let object = Protected::Blob(target.digest.clone());
        let done = self.protect(&object, |transaction| {
            if !exists(&blob)? {
                return Ok(None);
            }
            put(transaction, now).map(Some)
        })?;
        self.note_unsynced();
        done.ok_or_else(|| ImageError::NoBlob(target.digest.clone()))
    }
}

/// See [`Store::images`].
pub(crate) fn all_images(index: &Connection) -> Result<Vec<Image>, StoreError> {
    let query =
        format!("SELECT {COLUMNS} FROM images ORDER BY name IS NULL, name, updated DESC, digest");
    query_images(index, &query, [])
}

fn find(index: &Connection, name: &str) -> Result<Option<Image>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM images WHERE name = ?1");
    Ok(query_images(index, &query, [name])?.pop())
}

fn count(index: &Connection, digest: &Digest) -> Result<i64, StoreError> {
    let mut statement = index.prepare_cached("SELECT count(*) FROM images WHERE digest = ?1")?;
    Ok(statement.query_row([digest.as_str()], |row| row.get(0))?)
}

fn delete_name(transaction: &Transaction<'_>, name: &str) -> Result<(), StoreError> {
    transaction
        .prepare_cached("DELETE FROM images WHERE name = ?1")?
        .execute([name])?;
    Ok(())
}

fn delete_unnamed(transaction: &Transaction<'_>, digest: &Digest) -> Result<(), StoreError> {
    transaction
        .prepare_cached("DELETE FROM images WHERE digest = ?1 AND name IS NULL")?
        .execute([digest.as_str()])?;
    Ok(())
}

fn insert(
    transaction: &Transaction<'_>,
    name: Option<&str>,
    target: &Descriptor,
    [created, updated]: [Timestamp; 2],
) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT INTO images (name, media_type, digest, size, created, updated)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            name,
            target.media_type.as_str(),
            target.digest.as_str(),
            count_to_column(target.size),
            to_column(created),
            to_column(updated),
        ])?;
    Ok(())
}

fn query_images(
    index: &Connection,
    query: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<Image>, StoreError> {
    let mut statement = index.prepare_cached(query)?;
    let mut rows = statement.query(parameters)?;
    let mut images = Vec::new();
    while let Some(row) = rows.next()? {
        images.push(read_image(row)?);
    }
    Ok(images)
}

fn read_image(row: &Row<'_>) -> Result<Image, StoreError> {
    let damaged = || StoreError::Damaged { what: "an image" };
    let name: Option<String> = row.get(0)?;
    let media_type: String = row.get(1)?;
    let digest: String = row.get(2)?;
    Ok(Image {
        name: name
            .map(|name| name.parse())
            .transpose()
            .map_err(|_| damaged())?,
        target: Descriptor::new(
            MediaType::parse(&media_type),
            digest.parse().map_err(|_| damaged())?,
            count_from_column(row.get(3)?),
        ),
        created: from_column(row.get(4)?),
        updated: from_column(row.get(5)?),
    })
}
