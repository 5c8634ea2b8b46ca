FROM diff-base
RUN false | true; echo $? > /out
