//! Colour, where it is wanted. Every message reads fully without it.

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Heading,
    Faint,
    Success,
    Warning,
    Error,
    Hint,
}

/// Whether text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    color: bool,
}

impl Style {
    /// Text without colour.
    pub(crate) const fn plain() -> Self {
        Self { color: false }
    }

    /// Text with colour.
    pub(crate) const fn colored() -> Self {
        Self { color: true }
    }

    /// The text in its tone's colour.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            _ if !self.color => return text.to_owned(),
            Tone::Plain => return text.to_owned(),
            Tone::Heading => "1",
            Tone::Faint => "2",
            Tone::Success => "32",
            Tone::Warning => "33",
            Tone::Error => "1;31",
            Tone::Hint => "36",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}
