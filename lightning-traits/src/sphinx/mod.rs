//! sphinx
