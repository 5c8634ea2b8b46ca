//! The shape of the work: which step needs which.

/// A directed acyclic graph: steps are numbered from 0, and each needs only lower numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dag {
    inputs: Vec<Vec<usize>>,
}

/// A graph that can't be worked off from the lowest step to the highest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DagError {
    /// An input is the step itself or comes after it.
    #[error("step {step} needs step {input}, which does not come before it")]
    InputNotBefore {
        /// The step.
        step: usize,
        /// Its input.
        input: usize,
    },
    /// A target is not in the graph.
    #[error("step {0} does not exist")]
    NoSuchStep(usize),
}

impl Dag {
    /// From the list of each step's inputs. A step may name the same input twice.
    pub fn new(inputs: Vec<Vec<usize>>) -> Result<Self, DagError> {
        for (step, of_step) in inputs.iter().enumerate() {
            if let Some(&input) = of_step.iter().find(|&&input| input >= step) {
                return Err(DagError::InputNotBefore { step, input });
            }
        }
        Ok(Self { inputs })
    }

    /// The number of steps.
    pub fn len(&self) -> usize {
        self.inputs.len()
    }

    /// Whether there are no steps.
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }

    /// What the step needs, in the order in which the driver gets it.
    pub fn inputs(&self, step: usize) -> &[usize] {
        &self.inputs[step]
    }

    /// Which steps the targets need, themselves included.
    pub(crate) fn cone(&self, targets: &[usize]) -> Result<Vec<bool>, DagError> {
        let mut needed = vec![false; self.len()];
        for &target in targets {
            *needed.get_mut(target).ok_or(DagError::NoSuchStep(target))? = true;
        }
        for step in (0..self.len()).rev() {
            if needed[step] {
                for &input in self.inputs(step) {
                    needed[input] = true;
                }
            }
        }
        Ok(needed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_come_before_their_step() {
        assert!(Dag::new(vec![vec![], vec![0, 0]]).is_ok());
        assert_eq!(
            Dag::new(vec![vec![], vec![1]]),
            Err(DagError::InputNotBefore { step: 1, input: 1 })
        );
        assert_eq!(
            Dag::new(vec![vec![7]]),
            Err(DagError::InputNotBefore { step: 0, input: 7 })
        );
    }

    #[test]
    fn the_cone_holds_what_the_targets_need() {
        let dag = Dag::new(vec![vec![], vec![], vec![0], vec![1], vec![2]]).unwrap();
        assert_eq!(dag.cone(&[3]), Ok(vec![false, true, false, true, false]));
        assert_eq!(dag.cone(&[]), Ok(vec![false; 5]));
        assert_eq!(dag.cone(&[5]), Err(DagError::NoSuchStep(5)));
    }
}
