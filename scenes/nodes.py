"""A short way to write shader node trees in Python. Knows nodes and sockets, no scene."""

from __future__ import annotations

import bpy

Socket = bpy.types.NodeSocket
Colour = tuple[float, float, float]


def rgba(colour: Colour) -> tuple[float, float, float, float]:
    return (*colour, 1.0)


def hexa(code: str) -> Colour:
    """`#a0b1c2` as painters write it, sRGB, to the scene-linear values that sockets take."""
    values = (int(code.lstrip("#")[i : i + 2], 16) / 255 for i in (0, 2, 4))
    r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return r, g, b


class Tree:
    """One node tree being written: every method adds a node and returns its most used output."""

    def __init__(self, owner: bpy.types.Material | bpy.types.World):
        if bpy.app.version < (5, 0, 0):
            owner.use_nodes = True
        self.tree = owner.node_tree

    def node(self, kind: str, **settings):
        made = self.tree.nodes.new(kind)
        for name, value in settings.items():
            setattr(made, name, value)
        return made

    def feed(self, socket: Socket, value) -> None:
        """A socket is linked; a colour or a number becomes the socket's own value."""
        if isinstance(value, bpy.types.NodeSocket):
            self.tree.links.new(value, socket)
        elif socket.type == "RGBA":
            socket.default_value = rgba(hexa(value) if isinstance(value, str) else value)
        else:
            socket.default_value = value

    def fill(self, node, **inputs) -> None:
        for name, value in inputs.items():
            self.feed(node.inputs[name.replace("_", " ")], value)

    def coordinates(self, output: str = "UV", scale=(1.0, 1.0, 1.0), rotation=(0.0, 0.0, 0.0)) -> Socket:
        source = self.node("ShaderNodeTexCoord").outputs[output]
        mapping = self.node("ShaderNodeMapping")
        self.fill(mapping, Vector=source, Scale=scale, Rotation=rotation)
        return mapping.outputs["Vector"]

    def noise(self, vector: Socket, scale: float, detail: float = 3.0, roughness: float = 0.5) -> Socket:
        node = self.node("ShaderNodeTexNoise")
        self.fill(node, Vector=vector, Scale=scale, Detail=detail, Roughness=roughness)
        return node.outputs[0]

    def voronoi(self, vector: Socket, scale: float, feature: str = "F1", output: str = "Distance") -> Socket:
        node = self.node("ShaderNodeTexVoronoi", feature=feature)
        self.fill(node, Vector=vector, Scale=scale)
        return node.outputs[output]

    def brick(self, vector: Socket, width: float, height: float, one, two, mortar, gap: float, offset: float = 0.5):
        """Courses of `width` x `height` in the vector's own unit; returns the node, for its Color."""
        node = self.node("ShaderNodeTexBrick", offset=offset)
        self.fill(node, Vector=vector, Color1=one, Color2=two, Mortar=mortar, Scale=1.0, Mortar_Size=gap)
        self.fill(node, Mortar_Smooth=0.2, Brick_Width=width, Row_Height=height)
        return node

    def ramp(self, factor: Socket, *stops: tuple[float, Colour | str], constant: bool = False) -> Socket:
        node = self.node("ShaderNodeValToRGB")
        ramp = node.color_ramp
        ramp.interpolation = "CONSTANT" if constant else "LINEAR"
        while len(ramp.elements) < len(stops):
            ramp.elements.new(0.5)
        for element, (position, colour) in zip(ramp.elements, stops):
            element.position = position
            element.color = rgba(hexa(colour) if isinstance(colour, str) else colour)
        self.feed(node.inputs[0], factor)
        return node.outputs["Color"]

    def mix(self, factor, one, two, blend: str = "MIX") -> Socket:
        node = self.node("ShaderNodeMix", data_type="RGBA", blend_type=blend)
        by_name = {socket.identifier: socket for socket in node.inputs}
        for name, value in (("Factor_Float", factor), ("A_Color", one), ("B_Color", two)):
            self.feed(by_name[name], value)
        return next(socket for socket in node.outputs if socket.identifier == "Result_Color")

    def math(self, operation: str, one, two=0.0) -> Socket:
        node = self.node("ShaderNodeMath", operation=operation)
        self.feed(node.inputs[0], one)
        self.feed(node.inputs[1], two)
        return node.outputs[0]

    def axis(self, vector: Socket, name: str) -> Socket:
        node = self.node("ShaderNodeSeparateXYZ")
        self.feed(node.inputs[0], vector)
        return node.outputs[name]

    def bump(self, height: Socket, strength: float, distance: float) -> Socket:
        node = self.node("ShaderNodeBump")
        self.fill(node, Height=height, Strength=strength, Distance=distance)
        return node.outputs[0]

    def surface(self, **inputs) -> None:
        """What goes into the Principled shader that every new material has."""
        shader = next(node for node in self.tree.nodes if node.type == "BSDF_PRINCIPLED")
        self.fill(shader, **inputs)
