FROM diff-base
ARG V=arg
ENV V=env
ARG V=later
RUN echo $V > /v
ENV W=$V
