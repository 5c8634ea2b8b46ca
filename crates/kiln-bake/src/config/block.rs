//! Targets and groups: matrices, attributes, and references between blocks.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::decode;
use super::schema::{self, Shape};
use super::world::{Program, label};
use crate::eval::{Scope, World as _, eval};
use crate::path;
use crate::source::{Fault, Outcome, Span, did_you_mean};
use crate::syntax::ast::{Block, Kind};
use crate::target::{Group, Target};
use crate::value::{Type, Value, convert};

/// A block, once for each row of its matrix.
#[derive(Debug)]
pub(super) struct Instance<'a> {
    pub(super) kind: &'a str,
    pub(super) name: String,
    pub(super) block: &'a Block,
    /// The values of the matrix.
    row: Vec<(String, Value)>,
    values: RefCell<BTreeMap<String, Value>>,
    active: RefCell<Vec<String>>,
}

/// Groups and targets of all files.
const MAX_BLOCKS: usize = 10_000;
/// Rows of one matrix.
const MAX_ROWS: usize = 4096;

impl<'a> Program<'a> {
    /// All groups and targets, in order.
    pub(super) fn expand(&self, blocks: &[&'a Block]) -> Outcome<Vec<Rc<Instance<'a>>>> {
        let mut all = Vec::new();
        for block in blocks {
            if block.kind != "group" && block.kind != "target" {
                continue;
            }
            check(block, &mut self.warnings.borrow_mut())?;
            let label = label(block)?;
            let span = block.labels[0].1;
            valid_name(label, span)?;
            let mut names = Vec::new();
            for row in self.rows(block)? {
                let name = self.name(block, &row, label)?;
                if names.contains(&name) {
                    return Err(Fault::at(
                        span,
                        format!("two rows of the matrix have the name `{name}`"),
                    )
                    .hint(Some(
                        "let `name` depend on every value of the matrix".to_owned(),
                    )));
                }
                if all.len() >= MAX_BLOCKS {
                    return Err(Fault::at(
                        span,
                        format!("more than {MAX_BLOCKS} groups and targets"),
                    ));
                }
                names.push(name.clone());
                let (values, active) = Default::default();
                let instance = Rc::new(Instance {
                    kind: &block.kind,
                    name,
                    block,
                    row,
                    values,
                    active,
                });
                let key = (block.kind.clone(), instance.name.clone());
                self.instances
                    .borrow_mut()
                    .entry(key)
                    .or_default()
                    .push(Rc::clone(&instance));
                all.push(instance);
            }
            let mut renamed = self.renamed.borrow_mut();
            match renamed
                .iter_mut()
                .find(|(kind, known, _)| *kind == block.kind && known == label)
            {
                Some((_, _, known)) => known.extend(names),
                None => renamed.push((block.kind.clone(), label.to_owned(), names)),
            }
        }
        Ok(all)
    }

    fn rows(&self, block: &'a Block) -> Outcome<Vec<Vec<(String, Value)>>> {
        let Some(attribute) = block.body.attribute("matrix") else {
            return Ok(vec![Vec::new()]);
        };
        let span = attribute.expr.span;
        let matrix = eval(self, &Scope::default(), &attribute.expr)?;
        let Some(columns) = matrix.entries() else {
            return Err(Fault::at(
                span,
                format!("a matrix is a map of lists, not {}", matrix.ty()),
            ));
        };
        let mut rows: Vec<Vec<(String, Value)>> = vec![Vec::new()];
        for (name, column) in columns {
            let values: Vec<Value> = match (column.items(), column.entries()) {
                (Some(items), _) => items.to_vec(),
                (None, Some(entries)) => entries.values().cloned().collect(),
                (None, None) => {
                    return Err(Fault::at(
                        span,
                        format!("`{name}` of the matrix is no list but {}", column.ty()),
                    ));
                }
            };
            if rows.len().saturating_mul(values.len()) > MAX_ROWS {
                return Err(Fault::at(
                    span,
                    format!("a matrix of more than {MAX_ROWS} targets"),
                ));
            }
            let extend = |value: &Value| {
                let cell = (name.clone(), value.clone());
                rows.iter()
                    .map(|row| row.iter().cloned().chain([cell.clone()]).collect())
                    .collect::<Vec<_>>()
            };
            rows = values.iter().flat_map(extend).collect();
            self.budget()
                .charge((rows.len() * (columns.len() + 1)) as u64)?;
        }
        Ok(rows)
    }

    fn name(&self, block: &Block, row: &[(String, Value)], label: &str) -> Outcome<String> {
        let Some(attribute) = block.body.attribute("name") else {
            return Ok(label.to_owned());
        };
        if block.body.attribute("matrix").is_none() {
            return Err(Fault::at(
                attribute.name_span,
                "`name` is only for a target with a `matrix`",
            ));
        }
        let value = eval(self, &Scope::root(row), &attribute.expr)?;
        let value =
            convert(&value, &Type::String).map_err(|fault| fault.or_at(attribute.expr.span))?;
        let name = value
            .as_str()
            .ok_or_else(|| Fault::at(attribute.expr.span, "the name is null"))?;
        valid_name(name, attribute.expr.span)?;
        Ok(name.to_owned())
    }

    /// The value of an attribute of one block, in its type; none if it is not set.
    fn instance_attribute(&self, instance: &Instance<'a>, name: &str) -> Outcome<Option<Value>> {
        let Some(attribute) = instance.block.body.attribute(name) else {
            return Ok(None);
        };
        let Some(shape) = schema::shape(instance.kind, name) else {
            return Ok(None);
        };
        if let Some(value) = instance.values.borrow().get(name) {
            return Ok(Some(value.clone()));
        }
        if instance.active.borrow().iter().any(|active| active == name) {
            return Err(Fault::new(format!(
                "`{}.{}.{name}` depends on itself",
                instance.kind, instance.name
            )));
        }
        instance.active.borrow_mut().push(name.to_owned());
        let value = eval(self, &Scope::root(&instance.row), &attribute.expr).and_then(|value| {
            decode::normalize(&value, shape).map_err(|fault| {
                fault
                    .context(&format!("`{name}`"))
                    .or_at(attribute.expr.span)
            })
        });
        instance.active.borrow_mut().pop();
        let value = value?;
        instance
            .values
            .borrow_mut()
            .insert(name.to_owned(), value.clone());
        Ok(Some(value))
    }

    /// An attribute of a block that stands in several places: the last place that sets it counts.
    pub(super) fn block_attribute(
        &self,
        instances: &[Rc<Instance<'a>>],
        name: &str,
    ) -> Outcome<Value> {
        for instance in instances.iter().rev() {
            if let Some(value) = self.instance_attribute(instance, name)? {
                return Ok(value);
            }
        }
        let kind = instances.first().map_or("target", |instance| instance.kind);
        Ok(match (name, schema::shape(kind, name)) {
            ("description", _) => Value::text(""),
            (_, Some(Shape::Entries(_) | Shape::Secrets | Shape::Ssh | Shape::Policies)) => {
                Value::list(Type::Dynamic, Vec::new())
            }
            (_, shape) => Value::Null(shape.map_or(Type::Dynamic, Shape::ty)),
        })
    }

    /// A group.
    pub(super) fn group(&self, instance: &Instance<'a>) -> Outcome<Group> {
        let Some(targets) = self.instance_attribute(instance, "targets")? else {
            return Err(Fault::at(
                instance.block.kind_span,
                format!("group `{}` wants `targets`", instance.name),
            ));
        };
        let span = instance
            .block
            .body
            .attribute("targets")
            .map_or_else(Span::default, |targets| targets.expr.span);
        let mut targets = decode::texts(&targets).map_err(|fault| fault.or_at(span))?;
        let mut seen = std::collections::BTreeSet::new();
        targets.retain(|target| seen.insert(target.clone()));
        let description = self.instance_attribute(instance, "description")?;
        let description = description
            .as_ref()
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        Ok(Group {
            name: instance.name.clone(),
            description,
            targets,
        })
    }

    /// A target as one block says it.
    pub(super) fn target(&self, instance: &Instance<'a>, file: &str) -> Outcome<Target> {
        let mut target = Target {
            name: instance.name.clone(),
            ..Target::default()
        };
        for attribute in &instance.block.body.attributes {
            let Some(value) = self.instance_attribute(instance, &attribute.name)? else {
                continue;
            };
            if !value.is_null() {
                decode::set(&mut target, &attribute.name, &value).map_err(|fault| {
                    fault
                        .context(&format!("`{}`", attribute.name))
                        .or_at(attribute.expr.span)
                })?;
            }
        }
        if self.input.file_relative {
            self.rebase(instance, &mut target, file);
        }
        Ok(target)
    }

    /// Paths of contexts as seen from the file.
    fn rebase(&self, instance: &Instance<'a>, target: &mut Target, file: &str) {
        let Some(base) = path::directory(file) else {
            return;
        };
        target.default_base = Some(base.clone());
        if let Some(context) = &mut target.context {
            let expr = instance
                .block
                .body
                .attribute("context")
                .map(|attribute| &attribute.expr.kind);
            let own = match expr {
                Some(Kind::Attr(source, last)) if last == "context" => match &source.kind {
                    Kind::Attr(root, name) if root.keyword() == Some("target") => {
                        self.base_of(name)
                    }
                    _ => None,
                },
                _ => None,
            };
            *context = path::rebased(&own.unwrap_or_else(|| base.clone()), context);
        }
        for context in target.contexts.values_mut() {
            *context = path::rebased(&base, context);
        }
    }

    /// The directory of the file that sets the context of another target.
    fn base_of(&self, name: &str) -> Option<String> {
        let instances = self.instances.borrow();
        let instances = instances.get(&("target".to_owned(), name.to_owned()))?;
        let sets = instances
            .iter()
            .rfind(|instance| instance.block.body.attribute("context").is_some());
        let file = sets.or(instances.last())?.block.kind_span.file;
        path::directory(&self.input.files.get(file)?.name)
    }
}

/// Refuses what can't be there. An attribute that is not known is ignored, as buildx does, but not
/// in silence.
fn check(block: &Block, warnings: &mut Vec<Fault>) -> Outcome<()> {
    for attribute in &block.body.attributes {
        let name = attribute.name.as_str();
        if block.kind == "group" && (name == "matrix" || name == "name") {
            return Err(Fault::at(
                attribute.name_span,
                format!("a group can't have `{name}`"),
            ));
        }
        if schema::shape(&block.kind, name).is_none() && name != "matrix" && name != "name" {
            let names = schema::attributes(&block.kind)
                .iter()
                .map(|(name, _)| *name)
                .chain(["matrix"]);
            let warning = Fault::at(
                attribute.name_span,
                format!("a {} has no attribute `{name}`; it is ignored", block.kind),
            )
            .hint(did_you_mean(name, names));
            warnings.push(warning);
        }
    }
    match block.body.blocks.first() {
        Some(inner) => Err(Fault::at(
            inner.kind_span,
            format!("a {} has no block `{}`", block.kind, inner.kind),
        )
        .hint(
            schema::shape(&block.kind, &inner.kind).map(|_| format!("write `{} = {{`", inner.kind)),
        )),
        None => Ok(()),
    }
}

fn valid_name(name: &str, span: Span) -> Outcome<()> {
    let valid = !name.is_empty()
        && name
            .chars()
            .all(|ch| ch.is_ascii_alphanumeric() || ch == '_' || ch == '-');
    if valid {
        return Ok(());
    }
    Err(Fault::at(
        span,
        format!("`{name}` is no name: letters, digits, `_` and `-` are allowed"),
    )
    .hint(Some(format!(
        "`{}` is one; `sanitize()` makes such names",
        crate::functions::sanitize(name)
    ))))
}
