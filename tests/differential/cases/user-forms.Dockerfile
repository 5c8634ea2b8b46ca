FROM diff-base
ENV WHO=alice
USER $WHO:staff
