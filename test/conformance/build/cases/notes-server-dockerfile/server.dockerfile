FROM ubuntu
RUN apt-get update && apt-get install nano
COPY . /context
