//! Names that several commands let a person choose from.

use clap::ValueEnum;

use crate::landscape::evaluator::Objective;
use crate::landscape::plane::Normalization;
use crate::landscape::survey::Method;
use crate::protocol::OptimizerKind;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum NormName {
    Filter,
    Layer,
    None,
}

impl From<NormName> for Normalization {
    fn from(name: NormName) -> Self {
        match name {
            NormName::Filter => Self::Filter,
            NormName::Layer => Self::Layer,
            NormName::None => Self::None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ObjectiveName {
    Mean,
    Last,
}

impl From<ObjectiveName> for Objective {
    fn from(name: ObjectiveName) -> Self {
        match name {
            ObjectiveName::Mean => Self::Mean,
            ObjectiveName::Last => Self::Last,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum MethodName {
    Stack,
    Materialise,
}

impl From<MethodName> for Method {
    fn from(name: MethodName) -> Self {
        match name {
            MethodName::Stack => Self::Stack,
            MethodName::Materialise => Self::Materialise,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OptimizerName {
    Adamw,
    Adam,
    Sgd,
}

impl From<OptimizerName> for OptimizerKind {
    fn from(name: OptimizerName) -> Self {
        match name {
            OptimizerName::Adamw => Self::AdamW,
            OptimizerName::Adam => Self::Adam,
            OptimizerName::Sgd => Self::Sgd,
        }
    }
}
