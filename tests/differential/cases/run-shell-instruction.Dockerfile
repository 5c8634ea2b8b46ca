FROM diff-base
SHELL ["/bin/sh", "-e", "-c"]
RUN echo $0 $- > /shell; false || true
CMD started by the shell
