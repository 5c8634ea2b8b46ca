//! A Dockerfile and facts about its bases to a build graph.
