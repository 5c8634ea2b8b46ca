//! Cache keys, look-up, dedupe, schedule and cancel; knows no containers.
