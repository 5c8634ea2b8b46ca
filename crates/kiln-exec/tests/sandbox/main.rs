//! Programs in sandboxes, on the machine as it is: as root, with many ids, and with a single one. What
//! the machine does not allow is skipped, loudly.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests, which clippy does not see without libtest's attribute"
)]

mod confined;
mod foreign;
mod grades;
mod held;
mod isolation;
mod lifetime;
mod mounts;
#[path = "../../../kiln-sys/tests/runner/mod.rs"]
mod runner;
mod streams;
mod world;

use std::process::ExitCode;

use kiln_exec::helper_main;
use runner::Test;

const TESTS: &[Test] = &[
    (
        "a_program_is_pid_1_of_its_own_world",
        isolation::a_program_is_pid_1_of_its_own_world,
    ),
    (
        "capabilities_equal_dockers",
        isolation::capabilities_equal_dockers,
    ),
    ("forbidden_calls_fail", isolation::forbidden_calls_fail),
    (
        "kernel_interfaces_are_hidden",
        isolation::kernel_interfaces_are_hidden,
    ),
    ("devices_are_dockers", isolation::devices_are_dockers),
    (
        "without_a_network_there_is_only_loopback",
        isolation::without_a_network_there_is_only_loopback,
    ),
    (
        "another_user_has_its_ids_and_no_capability",
        isolation::another_user_has_its_ids_and_no_capability,
    ),
    (
        "the_binary_is_out_of_reach",
        isolation::the_binary_is_out_of_reach,
    ),
    (
        "mount_points_leave_no_trace",
        mounts::mount_points_leave_no_trace,
    ),
    (
        "a_linked_resolv_conf_is_mounted_where_it_points",
        mounts::a_linked_resolv_conf_is_mounted_where_it_points,
    ),
    (
        "the_hosts_tree_is_out_of_reach",
        mounts::the_hosts_tree_is_out_of_reach,
    ),
    (
        "requested_mounts_are_there",
        mounts::requested_mounts_are_there,
    ),
    (
        "a_program_runs_and_its_output_arrives",
        lifetime::a_program_runs_and_its_output_arrives,
    ),
    (
        "one_executor_runs_many_programs_at_once",
        lifetime::one_executor_runs_many_programs_at_once,
    ),
    ("failures_are_told_apart", lifetime::failures_are_told_apart),
    (
        "background_processes_die_with_the_program",
        lifetime::background_processes_die_with_the_program,
    ),
    (
        "much_output_on_both_streams_does_not_block",
        lifetime::much_output_on_both_streams_does_not_block,
    ),
    (
        "cancelling_kills_everything",
        lifetime::cancelling_kills_everything,
    ),
    (
        "killing_kiln_kills_everything",
        lifetime::killing_kiln_kills_everything,
    ),
    (
        "streams_can_be_opened_by_name",
        streams::streams_can_be_opened_by_name,
    ),
    (
        "a_terminal_is_a_terminal",
        streams::a_terminal_is_a_terminal,
    ),
    (
        "a_terminal_is_joined_to_ours",
        streams::a_terminal_is_joined_to_ours,
    ),
    (
        "a_user_namespace_is_no_obstacle",
        grades::a_user_namespace_is_no_obstacle,
    ),
    (
        "a_single_id_is_enough_for_root",
        grades::a_single_id_is_enough_for_root,
    ),
    (
        "subordinate_ids_are_enough_for_anyone",
        grades::subordinate_ids_are_enough_for_anyone,
    ),
    ("limits_are_set", confined::limits_are_set),
    (
        "a_limit_above_the_hard_one_is_named",
        confined::a_limit_above_the_hard_one_is_named,
    ),
    (
        "an_insecure_step_may_do_all_that_kiln_may",
        confined::an_insecure_step_may_do_all_that_kiln_may,
    ),
    (
        "an_insecure_step_in_a_user_namespace",
        confined::an_insecure_step_in_a_user_namespace,
    ),
    (
        "resources_are_limited_or_refused",
        confined::resources_are_limited_or_refused,
    ),
    (
        "resources_that_cannot_be_limited_are_an_error",
        confined::resources_that_cannot_be_limited_are_an_error,
    ),
    (
        "a_foreign_program_runs_as_root",
        foreign::a_foreign_program_runs_as_root,
    ),
    (
        "a_foreign_program_runs_in_a_user_namespace",
        foreign::a_foreign_program_runs_in_a_user_namespace,
    ),
    (
        "a_foreign_program_runs_with_a_single_id",
        foreign::a_foreign_program_runs_with_a_single_id,
    ),
    (
        "a_foreign_root_runs_its_own_programs",
        foreign::a_foreign_root_runs_its_own_programs,
    ),
    (
        "platforms_are_told_apart",
        foreign::platforms_are_told_apart,
    ),
    (
        "secrets_are_files_in_memory",
        held::secrets_are_files_in_memory,
    ),
    (
        "an_agent_answers_and_refuses_changes",
        held::an_agent_answers_and_refuses_changes,
    ),
    (
        "the_users_agent_is_asked_through_a_filter",
        held::the_users_agent_is_asked_through_a_filter,
    ),
    (
        "parts_of_another_root_are_bound",
        held::parts_of_another_root_are_bound,
    ),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "__step") {
        return helper_main(&arguments.next().unwrap_or_default());
    }
    runner::run(TESTS)
}
