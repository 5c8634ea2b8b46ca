FROM diff-base
RUN mkdir -p /a/b && echo one > /a/one && echo two > /a/b/two && chmod 700 /a/b && chown alice:staff /a/one
