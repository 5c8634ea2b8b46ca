# escape=`
FROM diff-base
RUN echo a `
  b > /f
ENV A=c:\d B=x` y
COPY a.txt `
  /to/
