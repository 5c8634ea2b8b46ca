FROM diff-base
USER alice
USER root
RUN id -u > /id
