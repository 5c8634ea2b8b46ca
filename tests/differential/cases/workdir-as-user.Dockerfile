FROM diff-base
USER alice
WORKDIR /home/alice/new/deep
