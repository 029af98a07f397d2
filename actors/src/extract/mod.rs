//! The extractors: which services a container says it offers.
