FROM diff-base AS p
ONBUILD ARG A=default
ONBUILD RUN echo $A > /a
FROM p
# with: --build-arg A=given
