FROM diff-base
WORKDIR /src
RUN --mount=target=. cp a.txt /copied && pwd > /where
