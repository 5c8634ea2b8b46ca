# escape=`
FROM diff-base
RUN echo back\\slash `
    > /out
ENV WINDOWS=C:\path
