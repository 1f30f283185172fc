//! The S3 face, seen from outside its room.

mod guard;
mod vectors;
