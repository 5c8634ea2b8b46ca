FROM diff-base
RUN grep NoNewPrivs /proc/self/status > /nnp
