"""The entry point for openmmml, which loads and instantiates it whenever it is imported: nothing here imports anything or can fail."""


class ConfGFPotentialFactory:
    """Makes learned potentials for ``openmmml.MLPotential("confgf-potential")``."""

    def createImpl(self, name: str, **args):  # type: ignore[no-untyped-def]  # the types would have to be imported
        """The implementation; torch, OpenMM and torchmd-net are imported now.

        Parameters
        ----------
        name : str
            Of the weights, as they are named among the entry points.
        **args
            None are taken.
        """
        from .openmm_plugin.openmmml_potential import ConfGFPotentialImpl

        if args:
            raise TypeError(f"{name} takes no {', '.join(args)}; give molecule=, positions= or temperature= to createSystem.")
        return ConfGFPotentialImpl(name)
