use expect_test::{Expect, expect};
use kiln_oci::MediaType;
use serde_json::Value;

use super::*;
use crate::request::{ProvenanceMode, ProvenanceRequest, SlsaVersion};

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn build() -> Build {
    Build {
        source: ConfigSource {
            uri: Some("https://user:token@example.com/app.git#main".to_owned()),
            digest: map(&[("sha1", "4b220de5058abfd01ff619c9d2ff6b09a049bea0")]),
            path: Some("Dockerfile".to_owned()),
        },
        request: Request {
            frontend: "dockerfile.v0".to_owned(),
            target: Some("final".to_owned()),
            build_args: map(&[("VERSION", "1.2")]),
            labels: map(&[("team", "x")]),
            options: map(&[("no-cache", "")]),
            secrets: vec![SecretUse {
                id: "npmrc".to_owned(),
                optional: true,
            }],
            ssh: vec![SecretUse {
                id: "default".to_owned(),
                optional: false,
            }],
            locals: Vec::new(),
        },
        materials: materials(),
        materials_complete: true,
        network: false,
        builder_platform: Platform::new("linux", "amd64"),
        vcs: map(&[
            ("revision", "4b22"),
            ("source", "https://me:pw@example.com/app.git"),
        ]),
        invocation_id: "x1y2z3".to_owned(),
        started: Timestamp::from_seconds(1_700_000_000),
        finished: Timestamp::new(1_700_000_060, 500_000_000),
        steps: steps(),
        sources: vec![SourceFile {
            filename: "Dockerfile".to_owned(),
            language: "Dockerfile".to_owned(),
            data: b"FROM alpine:3.20\n".to_vec(),
        }],
    }
}

fn materials() -> Vec<Material> {
    let amd64 = Platform::new("linux", "amd64");
    vec![
        Material::Http {
            url: "https://example.com/x.tgz".to_owned(),
            digest: Digest::sha256(b"x"),
        },
        Material::Git {
            url: "https://tok@example.com/app.git#main".to_owned(),
            commit: "4b220de5058abfd01ff619c9d2ff6b09a049bea0".to_owned(),
        },
        Material::Image {
            reference: "alpine:3.20".parse().unwrap(),
            platform: amd64.clone(),
            digest: Digest::sha256(b"a"),
        },
        Material::Image {
            reference: "alpine:3.20".parse().unwrap(),
            platform: amd64.clone(),
            digest: Digest::sha256(b"a"),
        },
        Material::LocalImage {
            reference: "example.com/own:1".parse().unwrap(),
            platform: amd64.clone(),
            digest: Digest::sha256(b"o"),
        },
    ]
}

fn steps() -> Vec<BuildStep> {
    let layer = Descriptor::new(
        MediaType::parse("application/vnd.oci.image.layer.v1.tar+gzip"),
        Digest::sha256(b"layer"),
        5,
    );
    vec![
        BuildStep {
            digest: "blake3:00".to_owned(),
            name: "[1/2] FROM alpine:3.20".to_owned(),
            op: StepOp::Source {
                identifier: "docker-image://docker.io/library/alpine".to_owned(),
                attributes: map(&[("platform", "linux/amd64")]),
            },
            inputs: Vec::new(),
            lines: vec![LineRange {
                source: 0,
                first: 1,
                last: 1,
            }],
            layers: vec![vec![layer]],
        },
        BuildStep {
            digest: "blake3:01".to_owned(),
            name: "[2/2] RUN make".to_owned(),
            op: StepOp::Exec {
                args: vec!["/bin/sh".to_owned(), "-c".to_owned(), "make".to_owned()],
                env: vec!["PATH=/bin".to_owned()],
                cwd: "/".to_owned(),
                user: String::new(),
                network: "none",
                mounts: vec![Mount {
                    kind: "secret".to_owned(),
                    dest: "/run/secrets/npmrc".to_owned(),
                    id: Some("npmrc".to_owned()),
                    input: None,
                    readonly: true,
                }],
            },
            inputs: vec![StepInput { step: 0, output: 0 }],
            lines: vec![LineRange {
                source: 0,
                first: 2,
                last: 3,
            }],
            layers: Vec::new(),
        },
    ]
}

#[track_caller]
fn check(build: &Build, request: &ProvenanceRequest, expected: &Expect) {
    let text = match build.predicate(request) {
        Ok(predicate) => {
            let value: Value = serde_json::from_str(predicate.as_json()).unwrap();
            format!("{}\n{value:#}", predicate.kind())
        }
        Err(error) => format!("error: {error}"),
    };
    for secret in ["token", "tok@", ":pw"] {
        assert!(!text.contains(secret), "{secret}");
    }
    expected.assert_eq(&text);
}

#[test]
fn the_long_form() {
    let request = ProvenanceRequest {
        reproducible: true,
        builder_id: "https://ci.example.com/1".to_owned(),
        ..ProvenanceRequest::default()
    };
    check(
        &build(),
        &request,
        &expect![[r#"
        https://slsa.dev/provenance/v1
        {
          "buildDefinition": {
            "buildType": "urn:kiln:build-type:dockerfile:v1",
            "externalParameters": {
              "configSource": {
                "digest": {
                  "sha1": "4b220de5058abfd01ff619c9d2ff6b09a049bea0"
                },
                "path": "Dockerfile",
                "uri": "https://xxxxx@example.com/app.git#main"
              },
              "request": {
                "args": {
                  "build-arg:VERSION": "1.2",
                  "label:team": "x",
                  "no-cache": "",
                  "target": "final"
                },
                "frontend": "dockerfile.v0",
                "secrets": [
                  {
                    "id": "npmrc",
                    "optional": true
                  }
                ],
                "ssh": [
                  {
                    "id": "default"
                  }
                ]
              }
            },
            "internalParameters": {
              "buildConfig": {
                "digestMapping": {
                  "blake3:00": "step0",
                  "blake3:01": "step1"
                },
                "llbDefinition": [
                  {
                    "id": "step0",
                    "name": "[1/2] FROM alpine:3.20",
                    "op": {
                      "Op": {
                        "source": {
                          "attrs": {
                            "platform": "linux/amd64"
                          },
                          "identifier": "docker-image://docker.io/library/alpine"
                        }
                      }
                    }
                  },
                  {
                    "id": "step1",
                    "inputs": [
                      "step0:0"
                    ],
                    "name": "[2/2] RUN make",
                    "op": {
                      "Op": {
                        "exec": {
                          "meta": {
                            "args": [
                              "/bin/sh",
                              "-c",
                              "make"
                            ],
                            "cwd": "/",
                            "env": [
                              "PATH=/bin"
                            ]
                          },
                          "mounts": [
                            {
                              "dest": "/run/secrets/npmrc",
                              "id": "npmrc",
                              "mountType": "secret",
                              "readonly": true
                            }
                          ],
                          "network": "none"
                        }
                      }
                    }
                  }
                ]
              },
              "builderPlatform": "linux/amd64"
            },
            "resolvedDependencies": [
              {
                "digest": {
                  "sha256": "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
                },
                "uri": "pkg:docker/alpine@3.20?platform=linux%2Famd64"
              },
              {
                "digest": {
                  "sha256": "65c74c15a686187bb6bbf9958f494fc6b80068034a659a9ad44991b08c58f2d2"
                },
                "uri": "pkg:oci/example.com/own@1?platform=linux%2Famd64"
              },
              {
                "digest": {
                  "sha1": "4b220de5058abfd01ff619c9d2ff6b09a049bea0"
                },
                "uri": "https://xxxxx@example.com/app.git#main"
              },
              {
                "digest": {
                  "sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
                },
                "uri": "https://example.com/x.tgz"
              }
            ]
          },
          "runDetails": {
            "builder": {
              "id": "https://ci.example.com/1"
            },
            "metadata": {
              "buildkit_completeness": {
                "request": true,
                "resolvedDependencies": true
              },
              "buildkit_hermetic": true,
              "buildkit_metadata": {
                "layers": {
                  "step0:0": [
                    [
                      {
                        "digest": "sha256:dac1d7cfa95021764849fd102524e141488c5e3a90f861dbb5a12d9ac8584f85",
                        "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                        "size": 5
                      }
                    ]
                  ]
                },
                "source": {
                  "infos": [
                    {
                      "data": "RlJPTSBhbHBpbmU6My4yMAo=",
                      "filename": "Dockerfile",
                      "language": "Dockerfile"
                    }
                  ],
                  "locations": {
                    "step0": {
                      "locations": [
                        {
                          "ranges": [
                            {
                              "end": {
                                "line": 1
                              },
                              "start": {
                                "line": 1
                              }
                            }
                          ]
                        }
                      ]
                    },
                    "step1": {
                      "locations": [
                        {
                          "ranges": [
                            {
                              "end": {
                                "line": 3
                              },
                              "start": {
                                "line": 2
                              }
                            }
                          ]
                        }
                      ]
                    }
                  }
                },
                "vcs": {
                  "revision": "4b22",
                  "source": "https://xxxxx@example.com/app.git"
                }
              },
              "buildkit_reproducible": true,
              "finishedOn": "2023-11-14T22:14:20.5Z",
              "invocationId": "x1y2z3",
              "startedOn": "2023-11-14T22:13:20Z"
            }
          }
        }"#]],
    );
}

#[test]
fn the_short_form_leaves_out_what_may_be_private() {
    let request = ProvenanceRequest {
        mode: ProvenanceMode::Min,
        ..ProvenanceRequest::default()
    };
    check(
        &build(),
        &request,
        &expect![[r#"
        https://slsa.dev/provenance/v1
        {
          "buildDefinition": {
            "buildType": "urn:kiln:build-type:dockerfile:v1",
            "externalParameters": {
              "configSource": {
                "digest": {
                  "sha1": "4b220de5058abfd01ff619c9d2ff6b09a049bea0"
                },
                "path": "Dockerfile",
                "uri": "https://xxxxx@example.com/app.git#main"
              },
              "request": {
                "args": {
                  "no-cache": "",
                  "target": "final"
                },
                "frontend": "dockerfile.v0"
              }
            },
            "internalParameters": {
              "builderPlatform": "linux/amd64"
            },
            "resolvedDependencies": [
              {
                "digest": {
                  "sha256": "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
                },
                "uri": "pkg:docker/alpine@3.20?platform=linux%2Famd64"
              },
              {
                "digest": {
                  "sha256": "65c74c15a686187bb6bbf9958f494fc6b80068034a659a9ad44991b08c58f2d2"
                },
                "uri": "pkg:oci/example.com/own@1?platform=linux%2Famd64"
              },
              {
                "digest": {
                  "sha1": "4b220de5058abfd01ff619c9d2ff6b09a049bea0"
                },
                "uri": "https://xxxxx@example.com/app.git#main"
              },
              {
                "digest": {
                  "sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
                },
                "uri": "https://example.com/x.tgz"
              }
            ]
          },
          "runDetails": {
            "builder": {
              "id": ""
            },
            "metadata": {
              "buildkit_completeness": {
                "request": false,
                "resolvedDependencies": true
              },
              "buildkit_hermetic": true,
              "buildkit_metadata": {
                "vcs": {
                  "revision": "4b22",
                  "source": "https://xxxxx@example.com/app.git"
                }
              },
              "finishedOn": "2023-11-14T22:14:20.5Z",
              "invocationId": "x1y2z3",
              "startedOn": "2023-11-14T22:13:20Z"
            }
          }
        }"#]],
    );
    let said = build().predicate(&request).unwrap();
    for private in ["VERSION", "team", "npmrc", "make", "default", "RlJPTS"] {
        assert!(!said.as_json().contains(private), "{private}");
    }
}

#[test]
fn version_0_2() {
    let request = ProvenanceRequest {
        version: SlsaVersion::V02,
        ..ProvenanceRequest::default()
    };
    check(
        &build(),
        &request,
        &expect![[r#"
        https://slsa.dev/provenance/v0.2
        {
          "buildConfig": {
            "digestMapping": {
              "blake3:00": "step0",
              "blake3:01": "step1"
            },
            "llbDefinition": [
              {
                "id": "step0",
                "name": "[1/2] FROM alpine:3.20",
                "op": {
                  "Op": {
                    "source": {
                      "attrs": {
                        "platform": "linux/amd64"
                      },
                      "identifier": "docker-image://docker.io/library/alpine"
                    }
                  }
                }
              },
              {
                "id": "step1",
                "inputs": [
                  "step0:0"
                ],
                "name": "[2/2] RUN make",
                "op": {
                  "Op": {
                    "exec": {
                      "meta": {
                        "args": [
                          "/bin/sh",
                          "-c",
                          "make"
                        ],
                        "cwd": "/",
                        "env": [
                          "PATH=/bin"
                        ]
                      },
                      "mounts": [
                        {
                          "dest": "/run/secrets/npmrc",
                          "id": "npmrc",
                          "mountType": "secret",
                          "readonly": true
                        }
                      ],
                      "network": "none"
                    }
                  }
                }
              }
            ]
          },
          "buildType": "urn:kiln:build-type:dockerfile:v1",
          "builder": {
            "id": ""
          },
          "invocation": {
            "configSource": {
              "digest": {
                "sha1": "4b220de5058abfd01ff619c9d2ff6b09a049bea0"
              },
              "entryPoint": "Dockerfile",
              "uri": "https://xxxxx@example.com/app.git#main"
            },
            "environment": {
              "platform": "linux/amd64"
            },
            "parameters": {
              "args": {
                "build-arg:VERSION": "1.2",
                "label:team": "x",
                "no-cache": "",
                "target": "final"
              },
              "frontend": "dockerfile.v0",
              "secrets": [
                {
                  "id": "npmrc",
                  "optional": true
                }
              ],
              "ssh": [
                {
                  "id": "default"
                }
              ]
            }
          },
          "materials": [
            {
              "digest": {
                "sha256": "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
              },
              "uri": "pkg:docker/alpine@3.20?platform=linux%2Famd64"
            },
            {
              "digest": {
                "sha256": "65c74c15a686187bb6bbf9958f494fc6b80068034a659a9ad44991b08c58f2d2"
              },
              "uri": "pkg:oci/example.com/own@1?platform=linux%2Famd64"
            },
            {
              "digest": {
                "sha1": "4b220de5058abfd01ff619c9d2ff6b09a049bea0"
              },
              "uri": "https://xxxxx@example.com/app.git#main"
            },
            {
              "digest": {
                "sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
              },
              "uri": "https://example.com/x.tgz"
            }
          ],
          "metadata": {
            "buildFinishedOn": "2023-11-14T22:14:20.5Z",
            "buildInvocationID": "x1y2z3",
            "buildStartedOn": "2023-11-14T22:13:20Z",
            "completeness": {
              "environment": true,
              "materials": true,
              "parameters": true
            },
            "https://mobyproject.org/buildkit@v1#hermetic": true,
            "https://mobyproject.org/buildkit@v1#metadata": {
              "layers": {
                "step0:0": [
                  [
                    {
                      "digest": "sha256:dac1d7cfa95021764849fd102524e141488c5e3a90f861dbb5a12d9ac8584f85",
                      "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                      "size": 5
                    }
                  ]
                ]
              },
              "source": {
                "infos": [
                  {
                    "data": "RlJPTSBhbHBpbmU6My4yMAo=",
                    "filename": "Dockerfile",
                    "language": "Dockerfile"
                  }
                ],
                "locations": {
                  "step0": {
                    "locations": [
                      {
                        "ranges": [
                          {
                            "end": {
                              "line": 1
                            },
                            "start": {
                              "line": 1
                            }
                          }
                        ]
                      }
                    ]
                  },
                  "step1": {
                    "locations": [
                      {
                        "ranges": [
                          {
                            "end": {
                              "line": 3
                            },
                            "start": {
                              "line": 2
                            }
                          }
                        ]
                      }
                    ]
                  }
                }
              },
              "vcs": {
                "revision": "4b22",
                "source": "https://xxxxx@example.com/app.git"
              }
            },
            "reproducible": false
          }
        }"#]],
    );
}

#[test]
fn local_folders_are_no_materials() {
    let mut build = build();
    build.request.locals = vec!["context".to_owned(), "dockerfile".to_owned()];
    let request = ProvenanceRequest {
        complete_materials: true,
        ..ProvenanceRequest::default()
    };
    check(
        &build,
        &request,
        &expect![
            "error: the materials are not complete, as `complete-materials=true` demands: the local source `context`, the local source `dockerfile` have no digest"
        ],
    );
    build.request.locals.clear();
    build.materials_complete = false;
    check(
        &build,
        &request,
        &expect![
            "error: the materials are not complete, as `complete-materials=true` demands: some inputs have no digest"
        ],
    );
    build.materials_complete = true;
    assert!(build.predicate(&request).is_ok());
}
