FROM diff-base
RUN mkdir /real && ln -s /real /alias
WORKDIR /alias/sub
RUN pwd -P > /where
