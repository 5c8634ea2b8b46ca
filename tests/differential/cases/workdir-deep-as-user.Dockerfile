FROM diff-base
USER alice
WORKDIR /home/alice/a/b
RUN touch f
