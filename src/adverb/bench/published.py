"""What papers report on the same data, each number with its table. They trained longer, on other networks."""

from __future__ import annotations

from dataclasses import dataclass

VEEGAN = "Srivastava et al. 2017, “VEEGAN”"
PACGAN = "Lin et al. 2018, “PacGAN”, arXiv v2"
R3GAN = "Huang et al. 2024, “The GAN is dead; long live the GAN!”"


@dataclass(frozen=True)
class Row:
    """A method's modes, share of high-quality samples and reverse KL, as printed; None where the table has none."""

    method: str
    modes: str
    high_quality: str | None
    reverse_kl: str | None
    source: str


PUBLISHED: dict[str, list[Row]] = {
    "ring": [
        Row("GAN", "1", "99.3 %", None, f"{VEEGAN}, table 1"),
        Row("Unrolled GAN", "7.6", "35.6 %", None, f"{VEEGAN}, table 1"),
        Row("VEEGAN", "8", "52.9 %", None, f"{VEEGAN}, table 1"),
        Row("GAN", "6.3 ± 0.5", "98.2 ± 0.2 %", "0.45 ± 0.09", f"{PACGAN}, table 1"),
        Row("PacGAN4", "7.8 ± 0.1", "95.9 ± 1.4 %", "0.07 ± 0.02", f"{PACGAN}, table 1"),
    ],
    "grid": [
        Row("GAN", "3.3", "0.5 %", None, f"{VEEGAN}, table 1"),
        Row("Unrolled GAN", "23.6", "16 %", None, f"{VEEGAN}, table 1"),
        Row("VEEGAN", "24.6", "40 %", None, f"{VEEGAN}, table 1"),
        Row("GAN", "17.3 ± 0.8", "94.8 ± 0.7 %", "0.70 ± 0.07", f"{PACGAN}, table 1"),
        Row("PacGAN4", "24.8 ± 0.2", "93.6 ± 0.6 %", "0.04 ± 0.01", f"{PACGAN}, table 1"),
    ],
    "stacked-mnist": [
        Row("DCGAN", "99", None, "3.40", f"{VEEGAN}, table 2"),
        Row("Unrolled GAN", "48.7", None, "4.32", f"{VEEGAN}, table 2"),
        Row("VEEGAN", "150", None, "2.95", f"{VEEGAN}, table 2"),
        Row("PacDCGAN2", "1000.0 ± 0.00", None, "0.06 ± 0.003", f"{PACGAN}, table 2"),
        Row("StyleGAN2", "940", None, "0.42", f"{R3GAN}, table 3"),
        Row("R3GAN", "1000", None, "0.029", f"{R3GAN}, table 3"),
    ],
    "stacked-mnist-quarter": [
        Row("DCGAN", "30.6 ± 20.73", None, "5.99 ± 0.42", f"{PACGAN}, table 3"),
        Row("Unrolled GAN, 10 steps", "327.2 ± 74.67", None, "4.66 ± 0.46", f"{PACGAN}, table 3"),
        Row("PacDCGAN4", "667.4 ± 29.00", None, "1.81 ± 0.15", f"{PACGAN}, table 3"),
    ],
}
"""Name of a set, see `adverb.bench.modes` -> rows. ± is the standard error over 10 trials, 50 in PacGAN's table 3."""
