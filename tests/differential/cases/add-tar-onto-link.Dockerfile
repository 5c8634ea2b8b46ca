FROM diff-base
RUN mkdir /real && ln -s /real /alias
ADD archives/plain.tar /alias
