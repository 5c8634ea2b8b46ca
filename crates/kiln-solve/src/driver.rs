//! What the solver asks of whoever knows what a step is.

use kiln_base::CancelToken;

/// Knows what steps are: makes their keys, looks them up, runs them.
///
/// Steps are named by their number in the [`Dag`](crate::Dag); `inputs` come in the order of
/// [`Dag::inputs`](crate::Dag::inputs). Methods are called from several threads, for different
/// steps. For one step they are called in the order of this trait, each at most once except
/// [`Driver::look_up`], which is called once for each key.
///
/// Keys have to cover what the step's output is made from: its definition, and of each input
/// either its key or its content.
pub trait Driver: Sync {
    /// Names a result: equal keys mean interchangeable outputs.
    type Key: Clone + Send;
    /// What a step leaves behind. Cloned freely, so usually a handle.
    type Output: Clone + Send;
    /// Why a step could not be done.
    type Error: Send;

    /// The key from the definition and the keys of the inputs.
    fn fast_key(
        &self,
        step: usize,
        inputs: &[Self::Key],
    ) -> Result<FastKey<Self::Key>, Self::Error>;

    /// The key from the content of those inputs that [`FastKey`] named; their outputs are there.
    fn slow_key(
        &self,
        step: usize,
        inputs: &[Input<Self::Key, Self::Output>],
        cancel: &CancelToken,
    ) -> Result<Self::Key, Self::Error>;

    /// What is stored under the newest of the step's keys, [`Keys::primary`].
    ///
    /// Where a slow key is found after the fast one was not, the driver may note that the fast key
    /// now leads to the same result.
    fn look_up(
        &self,
        step: usize,
        keys: &Keys<Self::Key>,
        cancel: &CancelToken,
    ) -> Result<LookUp<Self::Key, Self::Output>, Self::Error>;

    /// Gets a result that is [`LookUp::Elsewhere`], under a key of [`Keys::primary`] that is the one
    /// the look-up gave. `None` where it can't be had after all: then the step runs.
    fn fetch(
        &self,
        step: usize,
        keys: &Keys<Self::Key>,
        cancel: &CancelToken,
    ) -> Result<Option<Self::Output>, Self::Error>;

    /// The step can be fetched or run, and waits for a thread: for those who measure.
    fn ready(&self, _step: usize) {}

    /// Does the step and stores its result, under [`Keys::primary`] and findable by both keys.
    /// Returns early once `cancel` is set; what it returns then is dropped.
    fn run(
        &self,
        step: usize,
        keys: &Keys<Self::Key>,
        inputs: Vec<Self::Output>,
        cancel: &CancelToken,
    ) -> Result<Self::Output, Self::Error>;
}

/// What the definition of a step and the keys of its inputs tell about its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FastKey<K> {
    /// This is the key.
    Known(K),
    /// This key is worth a look-up; when it is not found, the key comes from content.
    Tentative {
        /// The key from the definition.
        key: K,
        /// Positions in the step's list of inputs whose outputs [`Driver::slow_key`] reads.
        content_of: Vec<usize>,
    },
    /// The key comes from content only.
    FromContent {
        /// As in [`FastKey::Tentative`]. May be empty: the slow key then is made at once.
        content_of: Vec<usize>,
    },
}

/// The keys of one step that are known so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys<K> {
    /// Only the key from the definition.
    Fast(K),
    /// The key from content, and the one from the definition that was not found.
    Slow {
        /// From content.
        slow: K,
        /// From the definition.
        fast: Option<K>,
    },
}

/// One input of a step whose slow key is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input<K, O> {
    /// The input's key.
    pub key: K,
    /// The input's output, where [`FastKey`] asked for it; `None` elsewhere, even if it exists.
    pub output: Option<O>,
}

/// What a look-up found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookUp<K, O> {
    /// The result is there.
    Hit {
        /// The key that children of this step build upon: the one the result was stored under,
        /// which is the slow key where the step has one, even if it was found by the fast one.
        key: K,
        /// The result.
        output: O,
    },
    /// The result is kept elsewhere: [`Driver::fetch`] gets it, if anything wants it. What it was
    /// made from is not needed for that.
    Elsewhere {
        /// As for [`LookUp::Hit`].
        key: K,
    },
    /// The result is not there, but results made from it may be: the step runs only when it is
    /// clear that it has to.
    Absent,
    /// The key was never seen, so nothing made from it is stored either. The step may start while
    /// keys further on still wait for content. Always correct; at worst a step runs whose record
    /// was pruned and whose child would have been a hit.
    NeverSeen,
}

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved<K, O> {
    /// The key it is stored under.
    pub key: K,
    /// What it left behind.
    pub output: O,
}

impl<K> Keys<K> {
    /// The key that the result is stored under: the slow one where there is one.
    pub const fn primary(&self) -> &K {
        match self {
            Self::Fast(key) | Self::Slow { slow: key, .. } => key,
        }
    }
}
