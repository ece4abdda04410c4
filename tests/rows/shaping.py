"""What bounds, centers or disturbs the gradient before it is used."""

from .row import Row, is_kernel

_PASCANU = "[Pascanu 2013](https://arxiv.org/abs/1211.5063)"
_SHAZEER = "[Shazeer & Stern 2018](https://arxiv.org/abs/1804.04235)"
_BROCK = "[Brock 2021](https://arxiv.org/abs/2102.06171)"
_YONG = "[Yong 2020](https://arxiv.org/abs/2004.01461)"
_HAZAN = "[Hazan 2015](https://arxiv.org/abs/1507.02030)"
_NEELAKANTAN = "[Neelakantan 2015](https://arxiv.org/abs/1511.06807)"

ROWS = (
    Row(
        "clip_by_block_norm",
        {"max_norm": 0.7},
        formula="u = g min(1, c / ‖g‖), ‖g‖ of each array",
        paper=_PASCANU,
        coordinate_local=False,
    ),
    Row(
        "clip_by_block_rms",
        {"max_rms": 0.5},
        formula="u = g min(1, max_rms / RMS(g))",
        paper=_SHAZEER,
        coordinate_local=False,
    ),
    Row(
        "adaptive_gradient_clip",
        {"clipping": 0.1, "eps": 0.5, "axis": 1, "mask": is_kernel},
        formula="uᵢ = gᵢ min(1, clipping max(‖wᵢ‖, eps) / ‖gᵢ‖), for each output unit",
        paper=_BROCK,
        reads_params=True,
        coordinate_local=False,
    ),
    Row(
        "centralize_gradients",
        {"axis": 1},
        formula="uᵢ = gᵢ - mean(gᵢ), for each output unit",
        paper=_YONG,
        degree=1,
        coordinate_local=False,
    ),
    Row(
        "add_gradient_noise",
        {"eta": 0.3, "gamma": 0.8, "seed": 4},
        formula="u = g + N(0, eta / (1 + t)^gamma)",
        paper=_NEELAKANTAN,
        degree=1,
        plain={"eta": 0.0},
        random=True,
        coordinate_local=False,
    ),
    Row(
        "normalize_by_global_norm",
        {"eps": 0.01},
        formula="u = g / (‖g‖ + eps)",
        paper=_HAZAN,
        degree=0,
        plain={"eps": 0.0},
        leaf_local=False,
    ),
)
