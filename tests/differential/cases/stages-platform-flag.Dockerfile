FROM --platform=$TARGETPLATFORM diff-base
RUN echo x > /x
