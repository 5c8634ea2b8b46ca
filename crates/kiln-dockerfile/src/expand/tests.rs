//! Tables: what is written, and what it becomes.

#![expect(
    clippy::needless_raw_string_hashes,
    reason = "`expect!` writes them when it is updated"
)]

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

fn vars() -> BTreeMap<String, String> {
    let pairs = [
        ("VAR", "value"),
        ("EMPTY", ""),
        ("SPACES", " a  b "),
        ("QUOTED", "\"q\" 'r'"),
        ("DOLLAR", "$VAR"),
        ("PATH_", "usr/local/bin"),
        ("FILE", "abc.tar.gz"),
        ("FIRST", "a"),
        ("STARS", "a*b*c?"),
        ("BACK", "\\a\\b"),
        ("BRACE", "{a}"),
        ("JA", "日x本"),
        ("DOTS", "abc"),
        ("VAR_2", "two"),
        ("_u", "under"),
        ("ключ", "значение"),
    ];
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    pairs.into_iter().collect()
}

/// One text a line; those with an error get a `!`. What was not set comes after a `?`.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "`expect!` makes a value")]
fn check_with(options: ExpandOptions, texts: &str, expected: Expect) {
    let rows = texts
        .lines()
        .map(|text| match expand_word(text, &vars(), options) {
            Ok(expanded) => {
                let unset: Vec<&str> = expanded.unset.iter().map(String::as_str).collect();
                let unset = match unset.as_slice() {
                    [] => String::new(),
                    names => format!("  ? {}", names.join(" ")),
                };
                format!("{text}  =>  {}|{unset}\n", expanded.text)
            }
            Err(error) => format!("{text}  =>  ! {error}\n"),
        });
    expected.assert_eq(&rows.collect::<String>());
}

#[track_caller]
fn check(texts: &str, expected: Expect) {
    check_with(ExpandOptions::word('\\'), texts, expected);
}

#[test]
fn plain_text() {
    check(
        r#"plain
a b
a  b
"a b"
'a b'
"a"'b'c
a"b"c
a\ b
a\\b
a\"b
a\'b
\a
a\
"a\"b"
"a\\b"
"a\b"
"a\$b"
"a'b"
'a"b'
'a\b'
'a$VAR'
""
''
"a
'a
"a\
<EOF
<<EOF
<< EOF
日本
"日本"x"#,
        expect![[r#"
            plain  =>  plain|
            a b  =>  a b|
            a  b  =>  a  b|
            "a b"  =>  a b|
            'a b'  =>  a b|
            "a"'b'c  =>  abc|
            a"b"c  =>  abc|
            a\ b  =>  a b|
            a\\b  =>  a\b|
            a\"b  =>  a"b|
            a\'b  =>  a'b|
            \a  =>  a|
            a\  =>  a|
            "a\"b"  =>  a"b|
            "a\\b"  =>  a\b|
            "a\b"  =>  a\b|
            "a\$b"  =>  a$b|
            "a'b"  =>  a'b|
            'a"b'  =>  a"b|
            'a\b'  =>  a\b|
            'a$VAR'  =>  a$VAR|
            ""  =>  |
            ''  =>  |
            "a  =>  ! missing closing double quote
            'a  =>  ! missing closing single quote
            "a\  =>  ! missing closing double quote
            <EOF  =>  <EOF|
            <<EOF  =>  <<EOF|
            << EOF  =>  << EOF|
            日本  =>  日本|
            "日本"x  =>  日本x|
        "#]],
    );
}

#[test]
fn names() {
    check(
        r#"$VAR
${VAR}
x$VAR-y
x${VAR}y
$VAR$VAR
$VARx
$UNSET
${UNSET}
x${UNSET}y
$EMPTY.
"$VAR"
"${VAR}"
'$VAR'
'${VAR}'
\$VAR
"\$VAR"
\\$VAR"#,
        expect![[r#"
            $VAR  =>  value|
            ${VAR}  =>  value|
            x$VAR-y  =>  xvalue-y|
            x${VAR}y  =>  xvaluey|
            $VAR$VAR  =>  valuevalue|
            $VARx  =>  |  ? VARx
            $UNSET  =>  |  ? UNSET
            ${UNSET}  =>  |  ? UNSET
            x${UNSET}y  =>  xy|  ? UNSET
            $EMPTY.  =>  .|
            "$VAR"  =>  value|
            "${VAR}"  =>  value|
            '$VAR'  =>  $VAR|
            '${VAR}'  =>  ${VAR}|
            \$VAR  =>  $VAR|
            "\$VAR"  =>  $VAR|
            \\$VAR  =>  \value|
        "#]],
    );
}

#[test]
fn special_names() {
    check(
        r#"$
a$
$$
$.
$ VAR
$1
$12a
${1}
$@x
$*x
$#x
$?x
$-x
$!x
$$x
$0x
${@}"#,
        expect![[r#"
            $  =>  $|
            a$  =>  a$|
            $$  =>  |  ? $
            $.  =>  $.|
            $ VAR  =>  $ VAR|
            $1  =>  |  ? 1
            $12a  =>  a|  ? 12
            ${1}  =>  |  ? 1
            $@x  =>  x|  ? @
            $*x  =>  x|  ? *
            $#x  =>  x|  ? #
            $?x  =>  x|  ? ?
            $-x  =>  x|  ? -
            $!x  =>  x|  ? !
            $$x  =>  x|  ? $
            $0x  =>  x|  ? 0
            ${@}  =>  |  ? @
        "#]],
    );
}

#[test]
fn broken_and_odd_names() {
    check(
        r#"$VAR_2
$_u
${VAR
${
${}
${{VAR}
${:x}
${ VAR}
${VAR }
${VAR!}
$SPACES
"$SPACES"
$QUOTED
$DOLLAR
$ключ"#,
        expect![[r#"
            $VAR_2  =>  two|
            $_u  =>  under|
            ${VAR  =>  ! missing `}` in substitution
            ${  =>  ! missing `}` in substitution
            ${}  =>  ! bad substitution
            ${{VAR}  =>  ! bad substitution
            ${:x}  =>  ! bad substitution
            ${ VAR}  =>  ! unsupported modifier ` ` in substitution
            ${VAR }  =>  ! unsupported modifier ` ` in substitution
            ${VAR!}  =>  ! unsupported modifier `!` in substitution
            $SPACES  =>   a  b |
            "$SPACES"  =>   a  b |
            $QUOTED  =>  "q" 'r'|
            $DOLLAR  =>  $VAR|
            $ключ  =>  значение|
        "#]],
    );
}

#[test]
fn defaults() {
    check(
        r#"${VAR:-w}
${VAR-w}
${EMPTY:-w}
${EMPTY-w}
${UNSET:-w}
${UNSET-w}
${UNSET:-}
${UNSET-}
${UNSET:-a b}
"${UNSET:-a b}"
${UNSET:-"a b"}
${UNSET:-'$VAR'}
${UNSET:-$VAR}
${UNSET:-${VAR}}
${UNSET:-${UNSET:-deep}}
${UNSET:-${VAR}/${PATH_}}
${UNSET:-a\}b}
${UNSET:-"}"}
${UNSET:-{}}
${UNSET:-:-}
${UNSET:-$UNSET}x
pre-${UNSET:-mid}-post
"${UNSET:-'a'}"
${UNSET:-<<a}
${VAR:-${BROKEN}}
${UNSET:-${}}
${UNSET:-w"#,
        expect![[r#"
            ${VAR:-w}  =>  value|
            ${VAR-w}  =>  value|
            ${EMPTY:-w}  =>  w|
            ${EMPTY-w}  =>  |
            ${UNSET:-w}  =>  w|  ? UNSET
            ${UNSET-w}  =>  w|  ? UNSET
            ${UNSET:-}  =>  |  ? UNSET
            ${UNSET-}  =>  |  ? UNSET
            ${UNSET:-a b}  =>  a b|  ? UNSET
            "${UNSET:-a b}"  =>  a b|  ? UNSET
            ${UNSET:-"a b"}  =>  a b|  ? UNSET
            ${UNSET:-'$VAR'}  =>  $VAR|  ? UNSET
            ${UNSET:-$VAR}  =>  value|  ? UNSET
            ${UNSET:-${VAR}}  =>  value|  ? UNSET
            ${UNSET:-${UNSET:-deep}}  =>  deep|  ? UNSET
            ${UNSET:-${VAR}/${PATH_}}  =>  value/usr/local/bin|  ? UNSET
            ${UNSET:-a\}b}  =>  a}b|  ? UNSET
            ${UNSET:-"}"}  =>  }|  ? UNSET
            ${UNSET:-{}}  =>  {}|  ? UNSET
            ${UNSET:-:-}  =>  :-|  ? UNSET
            ${UNSET:-$UNSET}x  =>  x|  ? UNSET
            pre-${UNSET:-mid}-post  =>  pre-mid-post|  ? UNSET
            "${UNSET:-'a'}"  =>  a|  ? UNSET
            ${UNSET:-<<a}  =>  <<a|  ? UNSET
            ${VAR:-${BROKEN}}  =>  value|  ? BROKEN
            ${UNSET:-${}}  =>  ! bad substitution
            ${UNSET:-w  =>  ! missing `}` in substitution
        "#]],
    );
}

#[test]
fn alternatives() {
    check(
        r#"${VAR:+w}
${VAR+w}
${EMPTY:+w}
${EMPTY+w}
${UNSET:+w}
${UNSET+w}
${VAR:+}
${VAR:+$VAR}
${VAR:+${VAR}:}rest
${UNSET:+${VAR}:}rest
${VAR:+a b}"#,
        expect![[r#"
            ${VAR:+w}  =>  w|
            ${VAR+w}  =>  w|
            ${EMPTY:+w}  =>  |
            ${EMPTY+w}  =>  w|
            ${UNSET:+w}  =>  |  ? UNSET
            ${UNSET+w}  =>  |  ? UNSET
            ${VAR:+}  =>  |
            ${VAR:+$VAR}  =>  value|
            ${VAR:+${VAR}:}rest  =>  value:rest|
            ${UNSET:+${VAR}:}rest  =>  rest|  ? UNSET
            ${VAR:+a b}  =>  a b|
        "#]],
    );
}

#[test]
fn required() {
    check(
        r#"${VAR:?m}
${VAR?m}
${VAR:?}
${EMPTY?m}
${EMPTY:?m}
${EMPTY:?}
${UNSET:?m}
${UNSET?m}
${UNSET:?}
${UNSET?}
${UNSET:?"custom error"}
${UNSET:?$VAR is here}"#,
        expect![[r#"
            ${VAR:?m}  =>  value|
            ${VAR?m}  =>  value|
            ${VAR:?}  =>  value|
            ${EMPTY?m}  =>  |
            ${EMPTY:?m}  =>  ! EMPTY: m
            ${EMPTY:?}  =>  ! EMPTY: is not allowed to be empty
            ${UNSET:?m}  =>  ! UNSET: m
            ${UNSET?m}  =>  ! UNSET: m
            ${UNSET:?}  =>  ! UNSET: is not allowed to be unset
            ${UNSET?}  =>  ! UNSET: is not allowed to be unset
            ${UNSET:?"custom error"}  =>  ! UNSET: custom error
            ${UNSET:?$VAR is here}  =>  ! UNSET: value is here
        "#]],
    );
}

#[test]
fn prefixes_and_suffixes() {
    check(
        r#"${PATH_#*/}
${PATH_##*/}
${PATH_%/*}
${PATH_%%/*}
${PATH_#usr}
${PATH_#bin}
${PATH_%bin}
${PATH_%usr}
${FILE#*.}
${FILE##*.}
${FILE%.*}
${FILE%%.*}
${FILE#?}
${FILE%??}
${FILE#a?c}
${FILE#[a]}
${FILE%z}
${FILE#}
${FILE%}
${FILE##}
${FILE%%}
${FILE#*}
${FILE##*}
${FILE%*}
${FILE%%*}
${STARS#\*}
${STARS#*\*}
${STARS##*\*}
${STARS%\*}
${STARS%\**}
${STARS%%\**}
${STARS#\?}
${BACK#\\}
${BACK%\\*}
${FILE#\a}
${UNSET#a}
${UNSET%a}
${UNSET#\a}
${EMPTY#*}
${FILE#$FIRST}
${FILE%"gz"}
${FILE%'.gz'}
${BRACE%\}}
${FILE:#a}
${FILE:%a}
${JA#日}
${JA%本}
${JA%?}
${DOTS#a.c}"#,
        expect![[r#"
            ${PATH_#*/}  =>  local/bin|
            ${PATH_##*/}  =>  bin|
            ${PATH_%/*}  =>  usr/local|
            ${PATH_%%/*}  =>  usr|
            ${PATH_#usr}  =>  /local/bin|
            ${PATH_#bin}  =>  usr/local/bin|
            ${PATH_%bin}  =>  usr/local/|
            ${PATH_%usr}  =>  usr/local/bin|
            ${FILE#*.}  =>  tar.gz|
            ${FILE##*.}  =>  gz|
            ${FILE%.*}  =>  abc.tar|
            ${FILE%%.*}  =>  abc|
            ${FILE#?}  =>  bc.tar.gz|
            ${FILE%??}  =>  abc.tar.|
            ${FILE#a?c}  =>  .tar.gz|
            ${FILE#[a]}  =>  abc.tar.gz|
            ${FILE%z}  =>  abc.tar.g|
            ${FILE#}  =>  abc.tar.gz|
            ${FILE%}  =>  abc.tar.gz|
            ${FILE##}  =>  abc.tar.gz|
            ${FILE%%}  =>  abc.tar.gz|
            ${FILE#*}  =>  abc.tar.gz|
            ${FILE##*}  =>  |
            ${FILE%*}  =>  abc.tar.gz|
            ${FILE%%*}  =>  |
            ${STARS#\*}  =>  a*b*c?|
            ${STARS#*\*}  =>  b*c?|
            ${STARS##*\*}  =>  c?|
            ${STARS%\*}  =>  a*b*c?|
            ${STARS%\**}  =>  a*b|
            ${STARS%%\**}  =>  a|
            ${STARS#\?}  =>  a*b*c?|
            ${BACK#\\}  =>  a\b|
            ${BACK%\\*}  =>  \a|
            ${FILE#\a}  =>  ! invalid pattern `\a` in substitution
            ${UNSET#a}  =>  |  ? UNSET
            ${UNSET%a}  =>  |  ? UNSET
            ${UNSET#\a}  =>  ! invalid pattern `\a` in substitution
            ${EMPTY#*}  =>  |
            ${FILE#$FIRST}  =>  bc.tar.gz|
            ${FILE%"gz"}  =>  abc.tar.|
            ${FILE%'.gz'}  =>  abc.tar|
            ${BRACE%\}}  =>  {a|
            ${FILE:#a}  =>  ! unsupported modifier `:#` in substitution
            ${FILE:%a}  =>  ! unsupported modifier `:%` in substitution
            ${JA#日}  =>  x本|
            ${JA%本}  =>  日x|
            ${JA%?}  =>  日x|
            ${DOTS#a.c}  =>  abc|
        "#]],
    );
}

#[test]
fn replacements() {
    check(
        r#"${FILE/./-}
${FILE//./-}
${FILE/abc/x}
${FILE/zz/x}
${FILE//b*/x}
${FILE/?/x}
${FILE//?/x}
${FILE/./}
${FILE//./}
${PATH_/\//-}
${PATH_//\//-}
${PATH_//\//}
${FILE/b/$VAR}
${FILE/b/${VAR}}
${FILE/$FIRST/x}
${FILE//./\}}
${FILE/./$1}
${STARS/\*/x}
${STARS//\*/x}
${FILE/a[b]/x}
${UNSET/a/b}
${UNSET//a/b}
${EMPTY/*/x}
${FILE/.}
${FILE/./-
${FILE/
${FILE//"."/_}
${FILE/b/'$VAR'}
${BRACE/\}/]}
${FILE:/a/b}
${FILE^}
${FILE,}
${#FILE}
${FILE:1:2}
${FILE:1}
${FILE@Q}"#,
        expect![[r#"
            ${FILE/./-}  =>  abc-tar.gz|
            ${FILE//./-}  =>  abc-tar-gz|
            ${FILE/abc/x}  =>  x.tar.gz|
            ${FILE/zz/x}  =>  abc.tar.gz|
            ${FILE//b*/x}  =>  ax|
            ${FILE/?/x}  =>  xbc.tar.gz|
            ${FILE//?/x}  =>  xxxxxxxxxx|
            ${FILE/./}  =>  abctar.gz|
            ${FILE//./}  =>  abctargz|
            ${PATH_/\//-}  =>  usr-local/bin|
            ${PATH_//\//-}  =>  usr-local-bin|
            ${PATH_//\//}  =>  usrlocalbin|
            ${FILE/b/$VAR}  =>  avaluec.tar.gz|
            ${FILE/b/${VAR}}  =>  avaluec.tar.gz|
            ${FILE/$FIRST/x}  =>  xbc.tar.gz|
            ${FILE//./\}}  =>  abc\}tar\}gz|
            ${FILE/./$1}  =>  abctar.gz|  ? 1
            ${STARS/\*/x}  =>  axb*c?|
            ${STARS//\*/x}  =>  axbxc?|
            ${FILE/a[b]/x}  =>  abc.tar.gz|
            ${UNSET/a/b}  =>  |  ? UNSET
            ${UNSET//a/b}  =>  |  ? UNSET
            ${EMPTY/*/x}  =>  x|
            ${FILE/.}  =>  ! missing `/` in substitution
            ${FILE/./-  =>  ! missing `}` in substitution
            ${FILE/  =>  ! missing `/` in substitution
            ${FILE//"."/_}  =>  abc_tar_gz|
            ${FILE/b/'$VAR'}  =>  a$VARc.tar.gz|
            ${BRACE/\}/]}  =>  {a]|
            ${FILE:/a/b}  =>  ! unsupported modifier `:/` in substitution
            ${FILE^}  =>  ! unsupported modifier `^` in substitution
            ${FILE,}  =>  ! unsupported modifier `,` in substitution
            ${#FILE}  =>  ! unsupported modifier `F` in substitution
            ${FILE:1:2}  =>  ! unsupported modifier `:1` in substitution
            ${FILE:1}  =>  ! unsupported modifier `:1` in substitution
            ${FILE@Q}  =>  ! unsupported modifier `@` in substitution
        "#]],
    );
}

#[test]
fn with_a_backtick_as_escape_character() {
    check_with(
        ExpandOptions::word('`'),
        r##"a`$b
c:\dir\$VAR
"a`"b"
"a\"b
`$VAR
a`
${PATH_//\//`}}"##,
        expect![[r#"
            a`$b  =>  a$b|
            c:\dir\$VAR  =>  c:\dir\value|
            "a`"b"  =>  a"b|
            "a\"b  =>  a\b|
            `$VAR  =>  $VAR|
            a`  =>  a|
            ${PATH_//\//`}}  =>  ! invalid pattern `\` in substitution
        "#]],
    );
}

#[test]
fn in_heredocs_quotes_mean_nothing() {
    check_with(
        ExpandOptions::heredoc(),
        r##"it's $VAR
"$VAR" and '$VAR'
\$VAR
\\$VAR
\n
${UNSET:-"w"}
$1 $$
cost: 5$
<<EOF"##,
        expect![[r#"
            it's $VAR  =>  it's value|
            "$VAR" and '$VAR'  =>  "value" and 'value'|
            \$VAR  =>  $VAR|
            \\$VAR  =>  \value|
            \n  =>  n|
            ${UNSET:-"w"}  =>  "w"|  ? UNSET
            $1 $$  =>   |  ? $ 1
            cost: 5$  =>  cost: 5$|
            <<EOF  =>  <<EOF|
        "#]],
    );
}

#[test]
fn for_people_quotes_and_unset_variables_stay() {
    let options = ExpandOptions {
        quotes: Quotes::Keep,
        keep_unset: true,
        ..ExpandOptions::word('\\')
    };
    check_with(
        options,
        r##"echo "$VAR" '$VAR' $UNSET
${UNSET} ${UNSET:-w} ${UNSET:+w} ${UNSET-w}
${UNSET#a} ${UNSET%%b} ${UNSET/a/b} ${UNSET//a/b}
${VAR:-w}
a\ b
"a b""##,
        expect![[r#"
            echo "$VAR" '$VAR' $UNSET  =>  echo "value" '$VAR' $UNSET|  ? UNSET
            ${UNSET} ${UNSET:-w} ${UNSET:+w} ${UNSET-w}  =>  ${UNSET} ${UNSET:-w} ${UNSET:+w} ${UNSET-w}|  ? UNSET
            ${UNSET#a} ${UNSET%%b} ${UNSET/a/b} ${UNSET//a/b}  =>  ${UNSET#a} ${UNSET%%b} ${UNSET/a/b} ${UNSET//a/b}|  ? UNSET
            ${VAR:-w}  =>  value|
            a\ b  =>  a b|
            "a b"  =>  "a b"|
        "#]],
    );
}

#[test]
fn words_are_split_after_expansion() {
    let texts = [
        "a b  c",
        "  a  ",
        "\"a b\" c",
        "a\\ b c",
        "$SPACES",
        "x$SPACES.y",
        "\"$SPACES\"",
        "$UNSET",
        "\"\" ''",
        "a\"\"b",
        "abc${UNSET:-x y}def",
        "80${UNSET:-80}",
        "cat << EOF",
        "a\u{a0}b",
        "",
    ];
    let words = texts.map(|text| {
        let words = expand_words(text, &vars(), ExpandOptions::word('\\'));
        format!("{text:?} => {words:?}\n")
    });
    expect![[r#"
        "a b  c" => Ok(["a", "b", "c"])
        "  a  " => Ok(["a"])
        "\"a b\" c" => Ok(["a b", "c"])
        "a\\ b c" => Ok(["a b", "c"])
        "$SPACES" => Ok(["a", "b"])
        "x$SPACES.y" => Ok(["x", "a", "b", ".y"])
        "\"$SPACES\"" => Ok([" a  b "])
        "$UNSET" => Ok([])
        "\"\" ''" => Ok([])
        "a\"\"b" => Ok(["ab"])
        "abc${UNSET:-x y}def" => Ok(["abcx", "ydef"])
        "80${UNSET:-80}" => Ok(["8080"])
        "cat << EOF" => Ok(["cat", "<< EOF"])
        "a\u{a0}b" => Ok(["a", "b"])
        "" => Ok([])
    "#]]
    .assert_eq(&words.concat());
}

#[test]
fn hostile_texts_are_refused() {
    let options = ExpandOptions::word('\\');
    let deep = "${a:-".repeat(100) + &"}".repeat(100);
    assert_eq!(
        expand_word(&deep, &NoVars, options),
        Err(ExpandError::TooDeep)
    );
    let long = BTreeMap::from([("A".to_owned(), "a".repeat(MAX_GROWTH / 2))]);
    for text in ["$A$A$A", "\"$A$A$A\"", "${A//a/$A}", "${U:-$A$A$A}"] {
        assert_eq!(
            expand_word(text, &long, options),
            Err(ExpandError::TooLong),
            "{text}"
        );
    }
    let pattern = format!("${{A#{}}}", "*a".repeat(MAX_PATTERN));
    let error = expand_word(&pattern, &long, options);
    assert!(matches!(error, Err(ExpandError::BadPattern(_))));
    let unclosed = "${a:-".repeat(1 << 16);
    assert!(expand_word(&unclosed, &NoVars, options).is_err());
}

fn texts() -> impl Strategy<Value = String> {
    let pieces = [
        "$", "{", "}", "${", "VAR", "UNSET", ":-", ":+", ":?", "#", "##", "%", "%%", "/", "//",
        "*", "?", "\\", "`", "'", "\"", " ", "a", "日", "<<", "\n", ":", "0", "[", "]",
    ];
    prop_oneof![
        3 => prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..30)
            .prop_map(|pieces| pieces.concat()),
        1 => any::<String>(),
    ]
}

proptest! {
    #[test]
    fn every_text_is_expanded_or_refused(text in texts(), escape in prop::sample::select(vec!['\\', '`'])) {
        for quotes in [Quotes::Remove, Quotes::Keep, Quotes::Ignore] {
            for keep in [false, true] {
                let options = ExpandOptions { escape, quotes, keep_escapes: keep, keep_unset: keep };
                let _ = expand_word(&text, &vars(), options);
                for (_, place) in expand_words_at(&text, &vars(), options).unwrap_or_default() {
                    prop_assert!(text.get(place).is_some());
                }
            }
        }
    }

    #[test]
    fn text_without_special_characters_stays(text in "[a-zA-Z0-9 .,/=:_-]*") {
        let expanded = expand_word(&text, &vars(), ExpandOptions::word('\\'));
        prop_assert_eq!(expanded.map(|expanded| expanded.text), Ok(text));
    }
}
