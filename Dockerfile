# The command line, on the CPU:
#
#     docker build -t nussl-transfer .
#     docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" nussl-transfer separate song.wav --model quartet --out separated

FROM python:3.11-slim AS build
WORKDIR /build
# Keep only the pinned packages that the command line needs: leave out those of the demo, the study, tests and documentation.
COPY requirements.txt .
RUN sed -e '/^# The demo/,/^$/d' -e '/^# The study/,/^$/d' -e '/^# Tests/,/^$/d' -e '/^# What snakemake/,/^$/d' \
        requirements.txt > runtime.txt
# Install torch first, with the packages that it requires. By default it comes with CUDA. If TORCH_INDEX is the address of
# PyTorch's index of builds for CPUs, pip prefers those builds, because their versions end in +cpu, and the image is some
# gigabytes smaller.
ARG TORCH_INDEX
RUN python -m venv /opt/venv \
    && grep '^torch==' runtime.txt > torch.txt \
    && /opt/venv/bin/pip install --no-cache-dir --no-compile ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -r torch.txt \
    && /opt/venv/bin/pip install --no-cache-dir --no-compile --no-deps -r runtime.txt
COPY setup.py setup.cfg pyproject.toml README.md LICENSE ./
COPY nussl_transfer nussl_transfer
RUN /opt/venv/bin/pip install --no-cache-dir --no-compile --no-deps . \
    && /opt/venv/bin/nussl-transfer --version

FROM python:3.11-slim
COPY --from=build /opt/venv /opt/venv
# Downloads and caches go to HOME, where any user can write. Mount a volume at /tmp to keep them.
ENV PATH="/opt/venv/bin:$PATH" HOME=/tmp
WORKDIR /data
USER 1000:1000
ENTRYPOINT ["nussl-transfer"]
CMD ["--help"]
