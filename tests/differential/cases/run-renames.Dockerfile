FROM diff-base
RUN mkdir -p /old/sub && echo x > /old/sub/x
RUN mv /old /new && mv /new/sub/x /new/y
