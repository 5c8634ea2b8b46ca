FROM diff-base
USER alice
RUN id > /tmp/id && echo $HOME > /tmp/home && touch /tmp/mine
USER 4321
RUN id > /tmp/number
USER alice:wheel
RUN id > /tmp/group
USER 4321:8765
RUN id > /tmp/both
