//! The names of all files together, resolved when they are asked for.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::block::Instance;
use super::function::Function;
use super::variable::VariableBlock;
use super::{Variable, schema};
use crate::eval::{Budget, Scope, World, eval, free};
use crate::functions;
use crate::input::{BakeInput, Clock};
use crate::source::{Fault, Outcome, did_you_mean};
use crate::syntax::ast::{Attribute, Block, Body};
use crate::target::Group;
use crate::value::Value;

/// Functions that call each other in a row.
const MAX_CALLS: usize = 300;

/// Blocks by kind and name.
type Instances<'a> = BTreeMap<(String, String), Vec<Rc<Instance<'a>>>>;

/// All declarations, and the values that are known by now.
pub(crate) struct Program<'a> {
    pub(super) input: &'a BakeInput,
    budget: Budget,
    builtins: BTreeMap<&'static str, Value>,
    variables: BTreeMap<&'a str, VariableBlock<'a>>,
    attributes: BTreeMap<&'a str, &'a Attribute>,
    functions: BTreeMap<&'a str, Function<'a>>,
    values: RefCell<BTreeMap<String, Value>>,
    active: RefCell<Vec<String>>,
    /// Blocks by kind and name, after matrices are expanded.
    pub(super) instances: RefCell<Instances<'a>>,
    /// What is ignored.
    pub(super) warnings: RefCell<Vec<Fault>>,
    /// Labels of matrices and the names that became of them, in order.
    pub(super) renamed: RefCell<Vec<(String, String, Vec<String>)>>,
}

impl<'a> Program<'a> {
    pub(super) fn new(input: &'a BakeInput, bodies: &'a [(usize, Body)]) -> Outcome<Self> {
        let context = input.command_context.as_deref().unwrap_or("cwd://");
        let builtins = BTreeMap::from([
            ("BAKE_CMD_CONTEXT", Value::text(context)),
            ("BAKE_LOCAL_PLATFORM", Value::text(&input.local_platform)),
        ]);
        let mut variables = BTreeMap::new();
        let mut functions = BTreeMap::new();
        let mut attributes = BTreeMap::new();
        for (_, body) in bodies {
            attributes.extend(
                body.attributes
                    .iter()
                    .map(|attribute| (attribute.name.as_str(), attribute)),
            );
            for block in &body.blocks {
                match block.kind.as_str() {
                    "variable" => {
                        variables.insert(label(block)?, VariableBlock::new(block)?);
                    }
                    "function" => {
                        functions.insert(label(block)?, Function::new(block)?);
                    }
                    _ => {}
                }
            }
        }
        for name in builtins.keys() {
            variables.remove(name);
            attributes.remove(name);
        }
        Ok(Self {
            input,
            budget: Budget::new(),
            builtins,
            variables,
            attributes,
            functions,
            values: RefCell::default(),
            active: RefCell::default(),
            instances: RefCell::default(),
            warnings: RefCell::default(),
            renamed: RefCell::default(),
        })
    }

    /// Whether a variable of that name is declared or built in.
    pub(super) fn is_variable(&self, name: &str) -> bool {
        self.variables.contains_key(name) || self.builtins.contains_key(name)
    }

    /// Evaluates and validates all variables.
    pub(super) fn all_variables(&self) -> Outcome<Vec<Variable>> {
        let mut all = Vec::new();
        for (name, variable) in &self.variables {
            let value = self
                .resolve(name)
                .map_err(|fault| fault.or_at(variable.block.kind_span))?;
            all.push(Variable {
                name: (*name).to_owned(),
                description: variable.description(self)?,
                ty: variable
                    .ty
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                value: value.and_then(|value| variable.show(&value)),
            });
        }
        self.variables
            .values()
            .try_for_each(|variable| variable.validate(self))?;
        Ok(all)
    }

    /// Evaluates the attributes that nothing asked for, so that no mistake passes.
    pub(super) fn check_attributes(&self) -> Outcome<()> {
        self.attributes
            .keys()
            .try_for_each(|name| self.resolve(name).map(drop))
    }

    fn resolve(&self, name: &str) -> Outcome<Option<Value>> {
        if let Some(value) = self.builtins.get(name) {
            return Ok(Some(value.clone()));
        }
        if let Some(value) = self.values.borrow().get(name) {
            return Ok(Some(value.clone()));
        }
        let (attribute, variable) = (self.attributes.get(name), self.variables.get(name));
        if attribute.is_none() && variable.is_none() {
            return Ok(None);
        }
        if self.active.borrow().iter().any(|active| active == name) {
            let path = self.active.borrow().join("` → `");
            return Err(Fault::new(format!(
                "variables depend on each other in a circle: `{path}` → `{name}`"
            )));
        }
        self.active.borrow_mut().push(name.to_owned());
        let value = match (attribute, variable) {
            (Some(attribute), _) => eval(self, &Scope::default(), &attribute.expr),
            (None, Some(variable)) => variable.value(self, name),
            (None, None) => Ok(Value::null()),
        };
        self.active.borrow_mut().pop();
        let value = value?;
        self.values
            .borrow_mut()
            .insert(name.to_owned(), value.clone());
        Ok(Some(value))
    }

    /// Whether the functions refer to nothing that is not there, and not to themselves.
    pub(super) fn check_functions(&self) -> Outcome<()> {
        let mut done = BTreeSet::new();
        self.functions
            .keys()
            .try_for_each(|name| self.check_function(name, &mut Vec::new(), &mut done))
    }

    fn check_function(
        &self,
        name: &'a str,
        path: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Outcome<()> {
        let Some(function) = self.functions.get(name) else {
            return Ok(());
        };
        if path.contains(&name) {
            return Err(
                Fault::at(function.span, format!("function `{name}` calls itself"))
                    .hint(Some(format!("through `{}`", path.join("` → `")))),
            );
        }
        if !done.insert(name) {
            return Ok(());
        }
        if path.len() >= MAX_CALLS {
            return Err(Fault::at(
                function.span,
                format!("more than {MAX_CALLS} functions call each other in a row"),
            ));
        }
        path.push(name);
        let bound: Vec<String> = function
            .params
            .iter()
            .chain(&function.variadic)
            .cloned()
            .collect();
        let free = free(function.result, &bound);
        for (variable, span) in &free.variables {
            let known =
                self.is_variable(variable) || self.attributes.contains_key(variable.as_str());
            if !known && !self.is_block(variable) {
                let names = self.variable_names();
                let names = names.iter().chain(&bound).map(String::as_str);
                return Err(Fault::at(*span, format!("unknown variable `{variable}`"))
                    .hint(did_you_mean(variable, names)));
            }
        }
        for (called, span) in &free.functions {
            match self.functions.get_key_value(called.as_str()) {
                // The entry may be done on another path; then it has no circle.
                Some((called, _)) if path.contains(called) || !done.contains(called) => {
                    self.check_function(called, path, done)?;
                }
                Some(_) => {}
                None if functions::names().any(|known| known == called) => {}
                None => {
                    let mut names = self.function_names();
                    names.extend(functions::names().map(str::to_owned));
                    return Err(Fault::at(*span, format!("unknown function `{called}`"))
                        .hint(did_you_mean(called, names.iter().map(String::as_str))));
                }
            }
        }
        path.pop();
        Ok(())
    }

    /// Groups that stand for all targets of a matrix.
    pub(super) fn matrix_groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for (_, label, names) in self.renamed.borrow().iter() {
            let mut targets = names.clone();
            crate::target::first_of_each(&mut targets);
            if targets.len() == 1 && targets[0] == *label {
                continue;
            }
            groups.push(Group {
                name: label.clone(),
                description: String::new(),
                targets,
            });
        }
        groups
    }
}

/// The one label of a block.
pub(super) fn label(block: &Block) -> Outcome<&str> {
    match block.labels.as_slice() {
        [(label, _)] => Ok(label),
        labels => {
            let message = format!("a {} wants one name, not {}", block.kind, labels.len());
            Err(Fault::at(block.kind_span, message)
                .hint(Some(format!("write `{} \"name\" {{`", block.kind))))
        }
    }
}

impl World for Program<'_> {
    fn variable(&self, name: &str) -> Outcome<Option<Value>> {
        self.resolve(name)
    }

    fn variable_names(&self) -> Vec<String> {
        let names = self
            .variables
            .keys()
            .chain(self.attributes.keys())
            .chain(self.builtins.keys());
        names.map(|name| (*name).to_owned()).collect()
    }

    fn is_block(&self, name: &str) -> bool {
        name == "target" || name == "group"
    }

    fn block(&self, kind: &str, name: &str, attribute: Option<&str>) -> Outcome<Value> {
        let instances = self
            .instances
            .borrow()
            .get(&(kind.to_owned(), name.to_owned()))
            .cloned();
        let Some(instances) = instances else {
            let instances = self.instances.borrow();
            let names = instances
                .keys()
                .filter(|(known, _)| known == kind)
                .map(|(_, name)| name.as_str());
            return Err(
                Fault::new(format!("unknown {kind} `{name}`")).hint(did_you_mean(name, names))
            );
        };
        let Some(attribute) = attribute else {
            let mut object = BTreeMap::from([("name".to_owned(), Value::text(name))]);
            for (attribute, _) in schema::attributes(kind) {
                object.insert(
                    (*attribute).to_owned(),
                    self.block_attribute(&instances, attribute)?,
                );
            }
            return Ok(Value::object(object));
        };
        if attribute == "name" {
            return Ok(Value::text(name));
        }
        if schema::shape(kind, attribute).is_none() {
            let names = schema::attributes(kind).iter().map(|(name, _)| *name);
            return Err(
                Fault::new(format!("a {kind} has no attribute `{attribute}`"))
                    .hint(did_you_mean(attribute, names)),
            );
        }
        self.block_attribute(&instances, attribute)
    }

    fn has_function(&self, name: &str) -> bool {
        self.functions.contains_key(name)
    }

    fn function_names(&self) -> Vec<String> {
        self.functions
            .keys()
            .map(|name| (*name).to_owned())
            .collect()
    }

    fn call(&self, name: &str, args: Vec<Value>) -> Outcome<Value> {
        let Some(function) = self.functions.get(name) else {
            return Err(Fault::new(format!("unknown function `{name}`")));
        };
        let wanted = function.params.len();
        if args.len() < wanted || (args.len() > wanted && function.variadic.is_none()) {
            return Err(Fault::new(format!(
                "`{name}` wants {wanted} arguments, not {}",
                args.len()
            )));
        }
        if let Some(at) = args.iter().position(Value::is_null) {
            return Err(Fault::new(format!(
                "argument {} of `{name}` must not be null",
                at + 1
            )));
        }
        let mut args = args.into_iter();
        let mut names: Vec<(String, Value)> =
            function.params.iter().cloned().zip(args.by_ref()).collect();
        if let Some(variadic) = &function.variadic {
            names.push((variadic.clone(), Value::tuple(args.collect())));
        }
        eval(self, &Scope::root(&names), function.result)
    }

    fn budget(&self) -> &Budget {
        &self.budget
    }

    fn clock(&self) -> &Clock {
        &self.input.clock
    }
}
