"""AdamW in torch: one call over a list of tensors (foreach), or one kernel for it (fused)."""

from typing import Any

import numpy as np
import torch
from problem import B1, B2, EPS, LEARNING_RATE, MAX_NORM, WEIGHT_DECAY, gradients, parameters
from shapes import Shapes


class TorchContender:
    """One of torch's implementations, with the tensors it works on."""

    def __init__(self, name: str, shapes: Shapes, optimizer: str, device: str) -> None:
        self.shapes = shapes
        self.clip = optimizer == "clip-adamw"
        self.implementation = {name.removeprefix("torch-"): True}
        on_gpu = torch.cuda.is_available() if not device else device in ("gpu", "cuda")
        self.device = "cuda" if on_gpu else "cpu"

    def allocate(self) -> None:
        """Fresh parameters, state and gradients on the device."""
        grads = gradients(self.shapes)
        self.params = {}
        for name, array in parameters(self.shapes).items():
            tensor = torch.nn.Parameter(torch.from_numpy(array).clone().to(self.device))
            tensor.grad = torch.from_numpy(grads[name]).clone().to(self.device)
            self.params[name] = tensor
        self.optimizer = torch.optim.AdamW(
            self.params.values(),
            lr=LEARNING_RATE,
            betas=(B1, B2),
            eps=EPS,
            weight_decay=WEIGHT_DECAY,
            **self.implementation,
        )

    def free(self) -> None:
        """Give the tensors back."""
        del self.params, self.optimizer

    def set_gradients(self, factor: float) -> None:
        """Take a multiple of the gradients that `allocate` gave (clipping writes to them)."""
        for name, grad in gradients(self.shapes, factor).items():
            self.params[name].grad = torch.from_numpy(grad).to(self.device)

    def run(self, steps: int) -> None:
        """Do steps and wait for the last."""
        for _ in range(steps):
            if self.clip:
                torch.nn.utils.clip_grad_norm_(self.params.values(), MAX_NORM, foreach=True)
            self.optimizer.step()
        if self.device == "cuda":
            torch.cuda.synchronize()

    def parameter(self, name: str) -> np.ndarray:
        """A parameter as it is now."""
        return self.params[name].detach().cpu().numpy()

    def facts(self) -> dict[str, Any]:
        """Versions and device; there is no compiled program to ask."""
        name = torch.cuda.get_device_name() if self.device == "cuda" else "cpu"
        return {"device": name, "versions": {"torch": torch.__version__}}
