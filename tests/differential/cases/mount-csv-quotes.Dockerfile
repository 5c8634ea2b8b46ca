FROM diff-base
RUN --mount=type=bind,"source=dir","target=/m n" ls '/m n' > /list
